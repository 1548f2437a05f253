// Node's usual WebSocket server. The path is the topic; what a subscriber sends goes to all of its topic, by the loop of the package's README.
import http from 'node:http';
import { WebSocket, WebSocketServer } from 'ws';

const topics = new Map();
const server = http.createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false, clientTracking: false });

sockets.on('connection', (socket, { url: topic }) => {
  const subscribers = topics.get(topic) ?? new Set();
  topics.set(topic, subscribers.add(socket));
  socket.on('message', (data, isBinary) => {
    for (const other of subscribers) if (other.readyState === WebSocket.OPEN) other.send(data, { binary: isBinary });
  });
  socket.on('close', () => subscribers.delete(socket));
  socket.on('error', () => {});
});
server.listen({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096 });
