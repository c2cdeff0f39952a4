// SPDX-License-Identifier: GPL-3.0-or-later
// server.js cluster [PORT]: two workers; each answers with its PID. The primary binds for both.
// server.js given FD: serves HTTP on the descriptor; answers with the uid.
'use strict';
const cluster = require('node:cluster');
const http = require('node:http');

const [how, where] = process.argv.slice(2);

function serve(answer, place) {
  http.createServer((request, response) => {
    response.setHeader('Connection', 'close');
    response.end(answer);
  }).listen(place);
}

if (how === 'given') {
  serve(`uid ${process.getuid()}`, { fd: Number(where) });
} else if (cluster.isPrimary) {
  cluster.fork();
  cluster.fork();
  cluster.on('exit', (worker) => console.error(`worker ${worker.process.pid} ended`));
} else {
  serve(`node ${process.pid}`, where || 80);
}
