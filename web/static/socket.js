// A client for one subscription at a time per socket, in the graphql-transport-ws protocol.

const PROTOCOL = "graphql-transport-ws";
const ACK_TIMEOUT_MS = 10_000;

export function socketUrl(endpoint) {
  const url = new URL(endpoint, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  return url.href;
}

// Opens a socket, authenticates with `init` and runs `payload`. `on.next` gets each result; exactly one of
// `on.complete()`, `on.error(errors)` and `on.closed(code, reason)` ends it. Returns a function that stops it.
export function subscribe(endpoint, init, payload, on) {
  const socket = new WebSocket(socketUrl(endpoint), PROTOCOL);
  let over = false;
  const send = (message) => socket.send(JSON.stringify(message));
  const end = (tell) => {
    if (over) return;
    over = true;
    clearTimeout(waiting);
    socket.close(1000);
    tell();
  };
  const waiting = setTimeout(() => end(() => on.closed(4408, "no answer")), ACK_TIMEOUT_MS);
  socket.onopen = () => send({ type: "connection_init", payload: init });
  socket.onclose = (event) => end(() => on.closed(event.code, event.reason));
  socket.onmessage = (event) => {
    if (over) return;
    let message;
    try {
      message = JSON.parse(event.data);
    } catch {
      end(() => on.closed(4400, "the server sent something that is not JSON"));
      return;
    }
    if (message.type === "ping") send({ type: "pong" });
    else if (message.type === "connection_ack") {
      clearTimeout(waiting);
      send({ id: "1", type: "subscribe", payload });
      on.open?.();
    } else if (message.type === "next") on.next(message.payload);
    else if (message.type === "error") end(() => on.error(message.payload));
    else if (message.type === "complete") end(() => on.complete());
  };
  return () => {
    if (!over && socket.readyState === WebSocket.OPEN) send({ id: "1", type: "complete" });
    end(() => {});
  };
}
