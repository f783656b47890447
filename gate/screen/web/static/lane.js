// The page of one lane. It shows what the gate sends and decides nothing: every
// text comes from the gate, and goes into the page as text, never as markup.
"use strict";
(() => {
  const body = document.body;
  const el = (id) => document.getElementById(id);
  const watchdogMS = Number(body.dataset.watchdogMs);
  const reopenMS = 2000;

  let current = null; // the answer that stands
  let panel = null; // how the gate is
  let lost = false; // nothing has been heard for too long
  let leaves = 0; // timer: the answer leaves the page
  let watchdog = 0; // timer: the gate was not heard

  function paint(view) {
    body.dataset.state = view.state;
    el("word").textContent = view.word;
    el("sentence").textContent = view.sentence;
    el("at").textContent = view.at;
    el("details").replaceChildren(...view.details.map((text) => {
      const li = document.createElement("li");
      li.textContent = text;
      return li;
    }));
    const problem = panel ? panel.problem : "";
    el("problem-text").textContent = problem;
    el("problem").hidden = !problem || view.state === "problem";
  }

  function render() {
    if (lost) {
      paint({ state: "problem", word: "DEVICE PROBLEM", sentence: el("lost").textContent, details: [], at: "" });
    } else if (current) {
      paint(current);
    } else if (panel) {
      paint(panel.rest);
    }
  }

  // pulse makes two equal answers in a row look like two.
  function pulse() {
    el("shape").getAnimations({ subtree: true }).forEach((a) => { a.cancel(); a.play(); });
  }

  function heard() {
    if (lost) {
      lost = false;
      el("announce").textContent = "";
    }
    clearTimeout(watchdog);
    watchdog = setTimeout(missed, watchdogMS);
  }

  function missed() {
    lost = true;
    el("announce").textContent = el("lost").textContent;
    render();
  }

  function onAnswer(event) {
    const answer = JSON.parse(event.data);
    heard();
    clearTimeout(leaves);
    const left = answer.hold_ms - answer.age_ms;
    if (answer.hold_ms > 0 && left <= 0) {
      current = null; // it came and went while this page was away
      return render();
    }
    current = answer;
    if (answer.hold_ms > 0) {
      leaves = setTimeout(() => { current = null; el("announce").textContent = ""; render(); }, left);
    }
    render();
    pulse();
    el("announce").textContent = answer.word + ". " + answer.sentence + " " + answer.details.join(". ");
  }

  function onPanel(event) {
    panel = JSON.parse(event.data);
    heard();
    if (panel.boot !== body.dataset.boot) {
      location.reload(); // the gate was started anew, perhaps as another version
    }
    for (const id of ["admitted", "gates", "roster", "unsent", "tickets"]) {
      el(id).textContent = panel[id];
    }
    el("link").textContent = panel.online ? "● Online" : "○ Offline";
    el("link").dataset.online = panel.online;
    el("note-text").textContent = panel.note;
    el("note").hidden = !panel.note;
    el("findings-text").textContent = panel.findings;
    el("findings").hidden = !panel.findings;
    render();
  }

  // The browser reopens a stream that broke. One that was refused it gives up:
  // then the page is loaded again as soon as the gate serves it.
  function reload() {
    fetch(location.href, { cache: "no-store" })
      .then((r) => { if (r.ok) { location.reload(); } else { throw new Error(r.statusText); } })
      .catch(() => setTimeout(reload, reopenMS));
  }

  const source = new EventSource(body.dataset.stream);
  source.addEventListener("answer", onAnswer);
  source.addEventListener("panel", onPanel);
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(reload, reopenMS);
    }
  });
  watchdog = setTimeout(missed, watchdogMS);

  // A lane's screen must not go dark. Browsers allow this on secure pages only.
  const stayAwake = () => {
    if (document.visibilityState === "visible" && navigator.wakeLock) {
      navigator.wakeLock.request("screen").catch(() => {});
    }
  };
  document.addEventListener("visibilitychange", stayAwake);
  stayAwake();
})();
