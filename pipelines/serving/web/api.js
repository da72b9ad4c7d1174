// Calls to the service: JSON in, JSON or a stream out, and its errors as one class.

import { EventParser } from "./sse.js";

/** An answer that is no result: the service's typed error, or why there was none. */
export class ServiceError extends Error {
  constructor(message, { status = 0, code = "unreachable", retryAfter = null, requestId = null }) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
    this.requestId = requestId;
  }
}

/** The service this page came from. The key is sent with every call and stored nowhere here. */
export class Service {
  key = "";

  /** What is served. */
  async listModels() {
    return (await (await this.#fetch("v1/models")).json()).data;
  }

  /** Regions of an image -> words; body as in the OpenAPI document. */
  async encode(body) {
    return (await this.#post("v1/encode", body)).json();
  }

  /** Words on an image -> masks. */
  async decode(body) {
    return (await this.#post("v1/decode", body)).json();
  }

  /**
   * Ask the chat model; yields the chunks of its answer as they arrive.
   *
   * @param {object} body without `stream`.
   * @param {AbortSignal} signal stops it.
   */
  async *chat(body, signal) {
    const answer = await this.#post("v1/chat/completions", { ...body, stream: true }, signal);
    const events = new EventParser();
    const decoder = new TextDecoder();
    const reader = answer.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new ServiceError("The answer broke off.", { code: "stream_ended" });
      for (const data of events.push(decoder.decode(value, { stream: true }))) {
        if (data === "[DONE]") return;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new ServiceError(chunk.error.message, { code: chunk.error.code });
        yield chunk;
      }
    }
  }

  #post(path, body, signal) {
    return this.#fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
  }

  async #fetch(path, options = {}) {
    const headers = { ...options.headers };
    if (this.key) headers.Authorization = `Bearer ${this.key}`;
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServiceError("The service does not answer.", {});
    }
    if (!answer.ok) throw await readError(answer);
    return answer;
  }
}

async function readError(answer) {
  let error = { message: `The service answered ${answer.status}.`, code: "unknown" };
  try {
    error = { ...error, ...(await answer.json()).error };
  } catch {
    // A proxy's own page: the status says all there is.
  }
  return new ServiceError(error.message, {
    status: answer.status,
    code: error.code,
    retryAfter: Number(answer.headers.get("Retry-After")) || null,
    requestId: answer.headers.get("X-Request-Id"),
  });
}

/** What a person can do about an error, in a sentence or two. */
export function explain(error) {
  if (!(error instanceof ServiceError)) return `The page failed: ${error.message}`;
  const wait = error.retryAfter ? ` Try again in ${error.retryAfter} s.` : " Try again.";
  const advice = {
    unreachable: " Is it running, and is this machine connected?",
    invalid_api_key: " Enter a valid API key at the top of the page.",
    rate_limited: wait,
    overloaded: wait,
    timed_out: wait,
    stream_ended: wait,
    request_too_large: " Choose a smaller picture.",
    image_too_large: " Choose a smaller picture.",
  };
  const reference = error.status >= 500 && error.requestId ? ` (request ${error.requestId})` : "";
  const sentence = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  const stop = /[.?!]$/.test(sentence) ? "" : ".";
  return sentence + stop + (advice[error.code] ?? "") + reference;
}
