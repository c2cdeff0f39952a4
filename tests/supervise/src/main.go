// SPDX-License-Identifier: GPL-3.0-or-later

// An ordinary net/http server on port 80 of both families.
package main

import (
	"fmt"
	"log"
	"net/http"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "go net/http")
	})
	log.Fatal(http.ListenAndServe(":80", nil))
}
