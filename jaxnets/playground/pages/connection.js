// The connection with the session that trains for this page.

const decoder = new TextDecoder();

// Frames: uint32 length of the header, the header in JSON, and the pictures of the output and of every neuron.
export function decodeFrame(buffer, pixels, small) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(decoder.decode(new Uint8Array(buffer, 4, length)));
  const bytes = new Uint8Array(buffer, 4 + length), start = pixels * pixels, size = small * small;
  return {
    ...header,
    output: bytes.subarray(0, start),
    neuron: (number) => bytes.subarray(start + number * size, start + (number + 1) * size),
  };
}

export class Connection {
  constructor({ onMessage, onFrame, onOpen, onClose }) {
    Object.assign(this, { onMessage, onFrame, onOpen, onClose });
    this.connect();
  }

  connect() {
    this.socket = new WebSocket(`ws://${location.host}/live`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.onOpen();
    this.socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.onMessage(JSON.parse(data));
      else this.onFrame(data);
    };
    this.socket.onclose = (event) => this.onClose(event);
  }

  say(command, content = {}) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ do: command, ...content }));
  }
}
