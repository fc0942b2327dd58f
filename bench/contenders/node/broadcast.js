// Each line received from the source is sent to every WebSocket: the broadcast of the ws library's own examples.
"use strict";

const net = require("node:net");
const readline = require("node:readline");
const { WebSocket, WebSocketServer } = require("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false, backlog: 4096 });
const source = net.createServer((connection) => {
  connection.on("error", () => {});
  readline.createInterface({ input: connection }).on("line", (line) => {
    const message = Buffer.from(line); // once, not once per socket
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) {
        client.send(message, { binary: false });
      }
    }
  });
});

server.on("connection", (client) => client.on("error", () => {}));
server.on("listening", () => {
  source.listen(0, "127.0.0.1", () => {
    console.log(`listening on ${server.address().port} source ${source.address().port}`);
  });
});
