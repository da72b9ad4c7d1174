// Elements without HTML text: what came from a model or a file is never parsed as markup.

/** Make an element: properties (or, with a dash in the name, attributes) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Show a text, or hide the element where there is none; live regions are read out. */
export function say(element, text) {
  element.textContent = text;
  element.hidden = !text;
}
