// Questions about the picture, and answers as they arrive.

import { showAnswer, showPartly, showQuestion } from "./answer_text.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { byId, make } from "./dom.js";
import { Notice, complain, report } from "./notices.js";

export class ChatPanel {
  #conversation = new Conversation();
  #model = null;
  #running = null;

  constructor(service, workspace, maker) {
    this.service = service;
    this.workspace = workspace;
    this.maker = maker;
    this.composer = new Composer(byId("question"), workspace, () => this.#send());
    byId("send").addEventListener("click", () => (this.#running ? this.stop() : this.#send()));
    byId("new-chat").addEventListener("click", () => this.restart());
    this.#update();
  }

  /** The model to ask, or null where none is served. */
  setModel(id) {
    this.#model = id;
    this.#update();
  }

  /** Put a region into the question. */
  mention(region) {
    this.composer.insertRegion(region);
  }

  /** Begin anew: another picture, or nothing to remember. */
  restart() {
    this.stop();
    this.#conversation = new Conversation();
    byId("turns").replaceChildren();
    this.#update();
  }

  /** End the answer that is arriving; what has come is kept. */
  stop() {
    this.#running?.abort();
  }

  async #send() {
    const parts = this.composer.read();
    const { picture } = this.workspace;
    if (!parts || this.#running) return;
    if (!picture) {
      complain(new Notice("Choose a picture first: questions are about one."));
      return;
    }
    const conversation = this.#conversation;
    const kept = this.composer.take();
    conversation.ask(parts);
    const question = this.#addTurn("You", showQuestion(parts, this.workspace));
    const answer = this.#addTurn(this.#model, []);
    const running = new AbortController();
    this.#setRunning(running);
    report("");
    try {
      const text = await this.#receive(conversation, picture, answer, running.signal);
      conversation.answer(text);
    } catch (error) {
      // As if it had not been asked: the question is there again, to be sent once more.
      conversation.takeBack();
      question.remove();
      answer.remove();
      if (this.#conversation === conversation) this.composer.put(kept);
      if (error.name !== "AbortError") complain(error);
    } finally {
      this.#setRunning(null);
    }
  }

  /** Show an answer while it arrives; its whole text. Stopped after the first piece, it is what came. */
  async #receive(conversation, picture, answer, signal) {
    answer.setAttribute("aria-busy", "true");
    const body = { model: this.#model, messages: conversation.toMessages(picture.dataUrl) };
    let text = "";
    try {
      for await (const { choices } of this.service.chat(body, signal)) {
        const { delta, finish_reason: reason } = choices[0];
        text += delta.content ?? "";
        if (delta.masks) this.#finish(answer, text, delta.masks, picture, reason);
        else this.#show(answer, showPartly(text));
      }
    } catch (error) {
      if (error.name !== "AbortError" || !text) throw error;
    }
    answer.removeAttribute("aria-busy");
    return text;
  }

  #finish(answer, text, masks, picture, reason) {
    const spans = this.maker.addAnswer(text, masks, picture);
    this.#show(answer, showAnswer(text, spans, this.workspace));
    if (reason === "length") answer.append(make("p", { className: "hint", textContent: "Cut off: no more tokens." }));
  }

  #addTurn(who, content) {
    const said = make("div", { className: "said" }, ...content);
    const turn = make(
      "li",
      { className: who === "You" ? "turn mine" : "turn" },
      make("span", { className: "who", textContent: who }),
      said,
    );
    byId("turns").append(turn);
    turn.scrollIntoView({ block: "nearest" });
    return turn;
  }

  #show(turn, content) {
    turn.querySelector(".said").replaceChildren(...content);
    const { parentElement: list } = turn;
    if (list) list.scrollTop = list.scrollHeight;
  }

  #setRunning(running) {
    this.#running = running;
    this.#update();
  }

  #update() {
    byId("no-chat").hidden = this.#model !== null;
    document.body.classList.toggle("silent", this.#model === null);
    byId("chat-form").hidden = this.#model === null;
    byId("send").textContent = this.#running ? "Stop" : "Ask";
    byId("new-chat").hidden = !byId("turns").childElementCount;
  }
}
