// Keeps the part of a page that carries data-live up to date: it is fetched
// again from the address in that attribute every few seconds, while the page is
// in view. A page that cannot be brought up to date says so.
"use strict";
const panel = document.querySelector("[data-live]");
if (panel) {
  const every = 2000;
  const refresh = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(panel.dataset.live, { cache: "no-store", signal: AbortSignal.timeout(5000) });
        if (!answer.ok) throw new Error(answer.statusText);
        panel.innerHTML = await answer.text();
        delete document.documentElement.dataset.stale;
      } catch {
        document.documentElement.dataset.stale = "";
      }
    }
    setTimeout(refresh, every);
  };
  setTimeout(refresh, every);
}
