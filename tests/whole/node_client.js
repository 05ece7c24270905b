// Visits /session with Node's `tls`, as often as asked, and prints one line of JSON for each visit.
// Call: node node_client.js '{"port": …, "ca": "ca.pem", "version": "TLSv1.3", "tickets": true,
//                             "clients": 10, "visits": 3}'
"use strict";

const { constants } = require("node:crypto");
const { readFileSync } = require("node:fs");
const tls = require("node:tls");

const told = JSON.parse(process.argv[2]);
const options = {
  host: "127.0.0.1",
  port: told.port,
  servername: "localhost",
  ca: readFileSync(told.ca),
  minVersion: told.version,
  maxVersion: told.version,
  secureOptions: told.tickets ? 0 : constants.SSL_OP_NO_TICKET,
};
const REQUEST = "GET /session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/** One visit; resolves to what was seen, and the session to come back with. */
function visit(session) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ ...options, session }, () => socket.write(REQUEST));
    let newest = session;
    let answer = "";
    // TLS 1.3's sessions come after the handshake, as this event; TLS 1.2's is there at its end.
    socket.on("session", (made) => (newest = made));
    socket.on("secureConnect", () => {
      if (told.version === "TLSv1.2") newest = socket.getSession();
    });
    socket.on("data", (data) => (answer += data));
    socket.on("error", reject);
    socket.on("end", () => {
      const facts = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")));
      resolve({ resumed: socket.isSessionReused(), facts, newest });
    });
  });
}

async function main() {
  for (let client = 0; client < told.clients; client++) {
    let session;
    for (let count = 0; count < told.visits; count++) {
      const seen = await visit(session);
      session = seen.newest;
      console.log(JSON.stringify({ client, resumed: seen.resumed, session: seen.facts }));
    }
  }
}

main();
