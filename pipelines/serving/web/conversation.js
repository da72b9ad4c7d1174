// A conversation about one picture, and the messages it is sent as.

export class Conversation {
  /** {role, text}: what was said, mask words inside the text. */
  turns = [];

  /** Add what the user says: strings and regions in order. */
  ask(parts) {
    const text = parts.map((part) => (typeof part === "string" ? part : part.words)).join("");
    this.turns.push({ role: "user", text: text.trim() });
  }

  /** Add what the model answered. */
  answer(text) {
    this.turns.push({ role: "assistant", text });
  }

  /** Take back the last turn. */
  takeBack() {
    this.turns.pop();
  }

  /** In OpenAI's form; the picture goes with the first message. */
  toMessages(imageUrl) {
    return this.turns.map(({ role, text }, position) => {
      if (position) return { role, content: text };
      const image = { type: "image_url", image_url: { url: imageUrl } };
      return { role, content: [image, { type: "text", text }] };
    });
  }
}
