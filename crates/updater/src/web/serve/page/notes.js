// Release notes: the part of Markdown that release notes use, made into nodes. Text never becomes markup: every node is
// made by name, every text is set as text, and links lead to web addresses only.

const INLINE = /(`+)([^`]+)\1|\*\*([^*]+)\*\*|__([^_]+)__|\[([^\]]+)\]\(([^)\s]+)\)|(https?:\/\/[^\s<>()]+[^\s<>().,;:!?'"])/g;

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function render(text) {
  const blocks = document.createDocumentFragment();
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  let paragraph = [];
  let list = null;
  const endParagraph = () => {
    if (paragraph.length) blocks.append(element("p", {}, ...inline(paragraph.join(" "))));
    paragraph = [];
  };
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at];
    const heading = /^#{1,6}\s+(.*?)\s*#*$/.exec(line);
    const item = /^\s*(?:[-*+]|(\d+)[.)])\s+(.*)$/.exec(line);
    if (/^\s*```/.test(line)) {
      endParagraph();
      const code = [];
      for (at += 1; at < lines.length && !/^\s*```/.test(lines[at]); at += 1) code.push(lines[at]);
      blocks.append(element("pre", { tabIndex: 0 }, element("code", {}, code.join("\n"))));
      list = null;
    } else if (heading) {
      endParagraph();
      list = null;
      blocks.append(element("h4", {}, ...inline(heading[1])));
    } else if (item) {
      endParagraph();
      const kind = item[1] === undefined ? "ul" : "ol";
      if (list?.localName !== kind) {
        list = element(kind);
        blocks.append(list);
      }
      list.append(element("li", {}, ...inline(item[2])));
    } else if (line.trim() === "") {
      endParagraph();
      list = null;
    } else if (list && /^\s+/.test(line)) {
      list.lastElementChild.append(" ", ...inline(line.trim()));
    } else {
      list = null;
      paragraph.push(line.trim());
    }
  }
  endParagraph();
  return blocks;
}

function inline(text) {
  const nodes = [];
  let last = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, , code, bold, bold2, label, target, bare] = match;
    if (match.index > last) nodes.push(text.slice(last, match.index));
    last = match.index + whole.length;
    if (code !== undefined) nodes.push(element("code", {}, code));
    else if (bold ?? bold2) nodes.push(element("strong", {}, bold ?? bold2));
    else nodes.push(link(bare ?? target, label ?? bare));
  }
  nodes.push(text.slice(last));
  return nodes;
}

export function link(address, label) {
  return /^https?:\/\//i.test(address)
    ? element("a", { href: address, rel: "noopener noreferrer", target: "_blank" }, label)
    : document.createTextNode(label);
}
