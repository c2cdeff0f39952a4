// SPDX-License-Identifier: GPL-3.0-or-later

// An ordinary net/http server of both families, on port 80 or its argument's.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "go net/http")
	})
	port := "80"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	log.Fatal(http.ListenAndServe(":"+port, nil))
}
