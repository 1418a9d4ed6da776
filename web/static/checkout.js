// Keeps the checkout page true: a subscription while it lasts, polling while it does not.

import { subscribe } from "./socket.js";

const RETRY_MS_MIN = 1_000;
const RETRY_MS_MAX = 30_000;
const POLL_MS_MIN = 3_000;
const POLL_MS_MAX = 15_000;
const SOON_S = 60;

const STATES = {
  PENDING_INVOICE: "preparing",
  PENDING_PAYMENT: "waiting",
  HELD: "held",
  COMPLETE: "paid",
  EXPIRED: "expired",
  CANCELED: "canceled",
  ERROR: "error",
};

const data = JSON.parse(document.getElementById("checkout-data").textContent);
const page = document.getElementById("checkout");
const byId = (id) => document.getElementById(id);

let status = data.status;
let cursor = null;
let stop = null;
let live = false;
let failures = 0;
let pollFailures = 0;
let pollTimer = null;
let retryTimer = null;
let asking = false;
let settledRead = false;

// What the page shows -----------------------------------------------------------------------------------------

function show(state) {
  if (page.dataset.state === state) return;
  page.dataset.state = state;
  const focused = document.activeElement;
  for (const part of page.querySelectorAll("[data-for]")) {
    part.hidden = !part.dataset.for.split(" ").includes(state);
  }
  if (focused?.closest("[hidden]")) byId("status").focus(); // a keyboard user is not thrown to the page's top
}

function localTime(element, iso) {
  element.dateTime = iso;
  element.textContent = new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

function apply(payment) {
  if (status === "COMPLETE" && payment.status !== "COMPLETE") return; // an older answer that came late
  status = payment.status;
  if (status === "COMPLETE") {
    if (payment.received) byId("received").textContent = `We received ${payment.received.formatted}.`;
    if (payment.settledAt) localTime(byId("settled"), payment.settledAt);
    document.title = document.title.replace(/^Pay .*? · /, "Paid · ");
  }
  const overdue = status === "PENDING_PAYMENT" && secondsLeft() === 0;
  show(overdue ? "checking" : STATES[status] ?? "error");
}

function showArticle(article) {
  if (!article || article.content === null || article.content === undefined) return;
  byId("article-title").textContent = article.title;
  byId("article-content").textContent = article.content; // as text: an article never becomes markup here
  byId("article").hidden = false;
}

function say(text) {
  byId("link-state").textContent = text;
  byId("link-state").hidden = !text;
}

// Time left, by the server's clock ----------------------------------------------------------------------------

const skewMs = Date.parse(data.serverNow) - Date.now();
const expiresMs = data.expiresAt ? Date.parse(data.expiresAt) : null;

function secondsLeft() {
  if (expiresMs === null) return null;
  return Math.max(0, Math.ceil((expiresMs - Date.now() - skewMs) / 1000));
}

function clockFace(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const rest = `${two(seconds % 60)}`;
  if (hours >= 48) return `in ${Math.floor(hours / 24)} days`;
  return hours ? `in ${hours}:${two(minutes)}:${rest}` : `in ${minutes}:${rest}`;
}

function tick() {
  const left = secondsLeft();
  const countdown = byId("countdown");
  if (left === null || !countdown) return;
  countdown.textContent = clockFace(left);
  countdown.classList.toggle("soon", left <= SOON_S);
  if (left === 0 && status === "PENDING_PAYMENT" && page.dataset.state === "waiting") {
    show("checking");
    schedulePoll();
  }
}

// Asking ------------------------------------------------------------------------------------------------------

async function ask() {
  const response = await fetch(data.endpoint, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    credentials: "omit",
    body: JSON.stringify({
      query: data.state,
      operationName: "CheckoutState",
      variables: { id: data.paymentId, clientSecret: data.clientSecret },
    }),
  });
  const answer = await response.json();
  if (!answer.data?.payment) throw new Error("the payment could not be read");
  return answer.data.payment;
}

async function refresh() {
  if (asking) return;
  asking = true;
  try {
    const payment = await ask();
    pollFailures = 0;
    say("");
    apply(payment);
    if (payment.status === "COMPLETE") {
      settledRead = true;
      showArticle(payment.article);
    }
    if (data.status === "PENDING_INVOICE" && payment.paymentRequest) location.reload(); // the invoice is drawn there
  } catch {
    pollFailures += 1;
    if (pollFailures > 1) say("No connection at the moment. This page keeps trying; a payment is not lost.");
  } finally {
    asking = false;
    schedulePoll();
  }
}

function schedulePoll() {
  const pressing = status === "COMPLETE" || page.dataset.state === "checking";
  if (settledRead || pollTimer || (live && pollFailures === 0 && !pressing)) return;
  pollTimer = setTimeout(() => {
    pollTimer = null;
    refresh();
  }, Math.min(POLL_MS_MAX, POLL_MS_MIN * 1.5 ** pollFailures));
}

// Listening ---------------------------------------------------------------------------------------------------

function lost() {
  stop = null;
  live = false;
  if (status === "COMPLETE") return;
  const delay = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** failures) * (0.5 + Math.random() / 2);
  failures += 1;
  clearTimeout(retryTimer);
  retryTimer = setTimeout(listen, delay);
  schedulePoll();
}

function onResult(result) {
  const update = result.data?.paymentUpdated;
  if (!update?.payment) return;
  cursor = update.cursor ?? cursor;
  failures = 0;
  apply(update.payment);
  refresh(); // the event tells that something happened; the query brings the article
  if (status === "COMPLETE") stop?.();
}

function listen() {
  if (stop || status === "COMPLETE") return;
  const payload = {
    query: data.updates,
    operationName: "CheckoutUpdates",
    variables: { id: data.paymentId, clientSecret: data.clientSecret, after: cursor },
  };
  try {
    stop = subscribe(data.endpoint, { clientSecret: data.clientSecret }, payload, {
      open() {
        live = true;
        refresh(); // closes the gap between the page's making and the subscription
      },
      next: onResult,
      complete: lost,
      error() {
        cursor = null; // a cursor the server no longer takes must not lock us out
        lost();
      },
      closed: lost,
    });
  } catch {
    lost();
  }
}

// Buttons -----------------------------------------------------------------------------------------------------

async function copy() {
  const field = byId("payment-request");
  let copied = true;
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    field.select();
    copied = document.execCommand("copy");
  }
  byId("copy").textContent = copied ? "Copied" : "Press Ctrl+C to copy";
  byId("copied").textContent = copied ? "Invoice copied" : "The invoice is selected; press Control C to copy";
  setTimeout(() => {
    byId("copy").textContent = "Copy invoice";
    byId("copied").textContent = "";
  }, 2_500);
}

for (const time of page.querySelectorAll("time[datetime]")) localTime(time, time.dateTime);
if (byId("copy")) {
  byId("copy").hidden = false;
  byId("copy").addEventListener("click", copy);
  byId("payment-request").addEventListener("focus", (event) => event.target.select());
}
if (byId("countdown")) {
  byId("countdown").hidden = false;
  byId("expires").hidden = true;
  tick();
  setInterval(tick, 1_000);
}
if (status !== "COMPLETE") {
  listen();
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && status !== "COMPLETE") refresh();
  });
}
addEventListener("pagehide", () => {
  stop?.();
  stop = null;
});
addEventListener("pageshow", (event) => {
  if (event.persisted && status !== "COMPLETE") listen();
});
