// Bun's own publish and subscribe (uWebSockets inside). The path is the topic; what a subscriber sends goes to all of its topic.
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2]),
  development: false,
  fetch(request, server) {
    return server.upgrade(request, { data: new URL(request.url).pathname }) ? undefined : new Response('WebSocket only', { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    open: (socket) => socket.subscribe(socket.data),
    message: (socket, message) => void server.publish(socket.data, message),
  },
});
