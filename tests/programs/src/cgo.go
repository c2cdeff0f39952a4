// SPDX-License-Identifier: GPL-3.0-or-later

// A server on port 80, or its argument's, with a C library in it, which its bind does not call.
package main

// #include <stdlib.h>
import "C"

import (
	"log"
	"net"
	"os"
)

func main() {
	C.free(nil)
	port := "80"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		request := make([]byte, 4096)
		connection.Read(request)
		connection.Write([]byte("HTTP/1.0 200 OK\r\n\r\ncgo"))
		connection.Close()
	}
}
