export class FanmeshError extends Error {
  // reason: a node's (docs/protocol.md) or one of ours (index.d.ts). sent: whether a push may have been published although it failed.
  constructor(message, { reason, sent = false, response } = {}) {
    super(message);
    this.name = "FanmeshError";
    this.reason = reason;
    this.sent = sent;
    this.response = response;
  }
}
