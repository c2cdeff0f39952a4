// SPDX-License-Identifier: GPL-3.0-or-later

// server [PORT]: an ordinary net/http server of both families, on port 80 or PORT.
// server given: serves HTTP on the first socket of LISTEN_FDS; answers with the uid.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
)

func answer(text string) {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, text)
	})
}

func given() net.Listener {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDS") != "1" {
		log.Fatalf("not for me: LISTEN_PID=%s LISTEN_FDS=%s", os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"))
	}
	listener, err := net.FileListener(os.NewFile(3, os.Getenv("LISTEN_FDNAMES")))
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func main() {
	port := "80"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	if port == "given" {
		answer(fmt.Sprintf("uid %d", os.Getuid()))
		log.Fatal(http.Serve(given(), nil))
	}
	answer("go net/http")
	log.Fatal(http.ListenAndServe(":"+port, nil))
}
