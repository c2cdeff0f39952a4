// SPDX-License-Identifier: GPL-3.0-or-later
// cluster.js [PORT]: two workers; each answers with its PID. The primary binds for both.
'use strict';
const cluster = require('node:cluster');
const http = require('node:http');

if (cluster.isPrimary) {
  cluster.fork();
  cluster.fork();
  cluster.on('exit', (worker) => console.error(`worker ${worker.process.pid} ended`));
} else {
  http.createServer((request, response) => {
    response.setHeader('Connection', 'close');
    response.end(`node ${process.pid}`);
  }).listen(process.argv[2] || 80);
}
