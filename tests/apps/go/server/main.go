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
	"runtime"
	"strconv"
	"strings"
	"syscall"
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

// pause holds one thread in a call for a quarter of a second, n times. In between the runtime stops all goroutines, and
// looks for events of its set when it lets them go on (startTheWorld, runtime/proc.go), whoever else waits for them.
func pause(n int) {
	runtime.LockOSThread()
	var stats runtime.MemStats
	for ; n > 0; n-- {
		rest := syscall.NsecToTimespec(250_000_000)
		syscall.Nanosleep(&rest, nil)
		runtime.ReadMemStats(&stats)
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
	mux.HandleFunc("GET /pauses/{n}", func(w http.ResponseWriter, r *http.Request) {
		go pause(number(r, "n"))
		send(w, "text/plain", []byte("begun"))
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
