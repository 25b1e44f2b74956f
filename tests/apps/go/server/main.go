// The test service on Go's net/http: the routes that every app in this folder has.
// Usage: server PORT | server /PATH/TO/SOCKET

// Without a module Go would behave as its oldest version does.
//go:debug default=go1.27
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// number reads a path parameter; an unreadable one is 0.
func number(r *http.Request, name string) int {
	n, _ := strconv.Atoi(r.PathValue(name))
	return n
}

func send(w http.ResponseWriter, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

func stream(contentType string, pause time.Duration, line string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for n := 0; n < 5; n++ {
			fmt.Fprintf(w, line, n)
			w.(http.Flusher).Flush()
			time.Sleep(pause)
		}
	}
}

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		body, _ := json.Marshal(map[string]string{"id": id, "name": "item " + id})
		send(w, "application/json", body)
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		send(w, "application/octet-stream", body)
	})
	mux.HandleFunc("GET /bytes/{n}", func(w http.ResponseWriter, r *http.Request) {
		send(w, "application/octet-stream", bytes.Repeat([]byte("x"), number(r, "n")))
	})
	mux.HandleFunc("GET /status/{code}", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(number(r, "code"))
	})
	mux.HandleFunc("GET /delay/{ms}", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(number(r, "ms")) * time.Millisecond)
		send(w, "text/plain", []byte("late"))
	})
	mux.HandleFunc("GET /stream", stream("text/plain", 10*time.Millisecond, "chunk %d\n"))
	mux.HandleFunc("GET /sse", stream("text/event-stream", 50*time.Millisecond, "data: %d\n\n"))

	network, address := "unix", os.Args[1]
	if !strings.HasPrefix(address, "/") {
		network, address = "tcp", "127.0.0.1:"+address
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, mux))
}
