// Keeps a page current. Everything here is an extra: each page works without it.
//
// The server says on one event stream that something changed; the page is then fetched again and
// every element marked `data-live` whose `data-version` differs is replaced. What a person is typing
// in is left alone unless its version changed, and then the text is carried over.

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "short" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const PAUSE = 1000;

function tellTimes() {
  const now = Date.now() / 1000;
  for (const element of document.querySelectorAll("time[data-at]")) {
    const seconds = Number(element.dataset.at) - now;
    const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? UNITS.at(-1);
    const text = RELATIVE.format(Math.trunc(seconds / size), unit);
    if (element.textContent !== text) element.textContent = text;
  }
}

function carryOver(from, to) {
  for (const field of from.querySelectorAll("textarea[name], input[type=text][name]")) {
    const twin = to.querySelector(`[name="${CSS.escape(field.name)}"]`);
    if (twin) twin.value = field.value;
  }
}

function replace(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  carryOver(old, fresh);
  old.replaceWith(fresh);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

async function refetch() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (answer.redirected || answer.status === 401) {
    location.reload();
    return;
  }
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.title = page.title;
  for (const old of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(old.id);
    if (fresh && fresh.dataset.version !== old.dataset.version) replace(old, fresh);
  }
  tellTimes();
}

let running = false;
let again = false;

async function changed() {
  if (running) {
    again = true;
    return;
  }
  running = true;
  try {
    do {
      again = false;
      await refetch();
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    } while (again);
  } catch {
    // The server is away: the stream says so, and its return brings the next change.
  } finally {
    running = false;
  }
}

function listen() {
  const light = document.getElementById("live");
  if (!light) return;
  const topics = document.body.dataset.topics.split(" ");
  const stream = new EventSource("/live");
  const show = (state, text) => {
    light.dataset.state = state;
    light.textContent = text;
    document.getElementById("not-live").hidden = state === "on";
  };
  // The server's first word after this tells what happened since the page was made.
  stream.addEventListener("open", () => show("on", "Live"));
  stream.addEventListener("error", () => show("off", "Reconnecting"));
  stream.addEventListener("changed", (event) => {
    if (topics.includes(event.data)) changed();
  });
  addEventListener("pagehide", () => stream.close());
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}

function stepWithKeys(event) {
  if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.target.closest("input, textarea, select, .scroll")) return;
  const way = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  if (way) document.querySelector(`a[rel="${way}"]`)?.click();
}

tellTimes();
setInterval(tellTimes, 5000);
document.addEventListener("keydown", stepWithKeys);
listen();
