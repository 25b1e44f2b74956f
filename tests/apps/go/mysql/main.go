// Runs the workload through go-sql-driver. Usage: mysql ENDPOINT WORKLOAD; see tests/support/sql_client.rs.

// Without a module Go would behave as its oldest version does.
//go:debug default=go1.27
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

type endpoint struct {
	Port     int    `json:"port"`
	Socket   string `json:"socket"`
	User     string `json:"user"`
	Password string `json:"password"`
	Database string `json:"database"`
}

type step struct {
	Query   string  `json:"query"`
	Pad     int     `json:"pad"`
	Prepare string  `json:"prepare"`
	Execute [][]any `json:"execute"`
}

type entry struct {
	Kind     string  `json:"kind"`
	Text     string  `json:"text"`
	Length   int     `json:"length"`
	Error    uint16  `json:"error,omitempty"`
	Rows     int64   `json:"rows"`
	Affected int64   `json:"affected"`
	Seconds  float64 `json:"seconds"`
}

var sent []entry

// logged runs one command and logs what it sent and what came back.
func logged(kind, text string, run func(*entry) error) {
	e := entry{Kind: kind, Text: text[:min(len(text), 200)], Length: len(text)}
	begun := time.Now()
	err := run(&e)
	e.Seconds = time.Since(begun).Seconds()
	var refused *mysql.MySQLError
	if errors.As(err, &refused) {
		e.Error = refused.Number
	} else if err != nil {
		log.Fatalf("%s %s: %v", kind, e.Text, err)
	}
	sent = append(sent, e)
}

// drain reads every row of every result.
func drain(e *entry, rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for {
		for rows.Next() {
			e.Rows++
		}
		if !rows.NextResultSet() {
			return rows.Err()
		}
	}
}

func affected(e *entry, result sql.Result, err error) error {
	if err != nil {
		return err
	}
	e.Affected, err = result.RowsAffected()
	return err
}

func isSelect(text string) bool { return strings.HasPrefix(text, "SELECT") }

func main() {
	var where endpoint
	if err := json.Unmarshal([]byte(os.Args[1]), &where); err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	var steps []step
	if err := json.Unmarshal(text, &steps); err != nil {
		log.Fatal(err)
	}

	address := fmt.Sprintf("tcp(127.0.0.1:%d)", where.Port)
	if where.Socket != "" {
		address = fmt.Sprintf("unix(%s)", where.Socket)
	}
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@%s/%s?multiStatements=true&maxAllowedPacket=%d",
		where.User, where.Password, address, where.Database, 64<<20))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	connection, err := db.Conn(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range steps {
		if s.Prepare != "" {
			prepared(ctx, connection, s)
			continue
		}
		query := strings.Replace(s.Query, "PAD", strings.Repeat("x", s.Pad), 1)
		logged("query", query, func(e *entry) error {
			if isSelect(query) {
				rows, err := connection.QueryContext(ctx, query)
				return drain(e, rows, err)
			}
			result, err := connection.ExecContext(ctx, query)
			return affected(e, result, err)
		})
	}
	connection.Close()
	db.Close()
	if err := json.NewEncoder(os.Stdout).Encode(sent); err != nil {
		log.Fatal(err)
	}
}

func prepared(ctx context.Context, connection *sql.Conn, s step) {
	var statement *sql.Stmt
	logged("prepare", s.Prepare, func(*entry) (err error) {
		statement, err = connection.PrepareContext(ctx, s.Prepare)
		return err
	})
	defer statement.Close()
	for _, arguments := range s.Execute {
		logged("execute", s.Prepare, func(e *entry) error {
			if isSelect(s.Prepare) {
				rows, err := statement.QueryContext(ctx, arguments...)
				return drain(e, rows, err)
			}
			result, err := statement.ExecContext(ctx, arguments...)
			return affected(e, result, err)
		})
	}
}
