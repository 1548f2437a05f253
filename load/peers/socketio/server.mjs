// Socket.IO with its own adapter. `subscribe` puts a socket into a room; what it sends as `publish` goes to all of the room as `load`.
import http from 'node:http';
import { Server } from 'socket.io';

const server = http.createServer();
const io = new Server(server, { transports: ['websocket'], perMessageDeflate: false, serveClient: false });

// As its page on performance advises: the request that made the connection need not stay in memory.
io.engine.on('connection', (socket) => {
  socket.request = null;
});
io.on('connection', (socket) => {
  socket.on('subscribe', (room, answer) => {
    socket.join(room);
    answer?.();
  });
  socket.on('publish', (room, payload) => io.to(room).emit('load', payload));
});
server.listen({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096 });
