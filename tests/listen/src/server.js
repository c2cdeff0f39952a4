// SPDX-License-Identifier: GPL-3.0-or-later
// Serves HTTP on the descriptor whose number is its argument.
'use strict';
require('node:http').createServer((request, response) => {
  response.setHeader('Connection', 'close');
  response.end(`uid ${process.getuid()}`);
}).listen({ fd: Number(process.argv[2]) });
