// The playground: GraphiQL on this origin alone, with four tabs that tell one story from invoice to article.

import { subscribe } from "./socket.js";

const { React, ReactDOM, GraphiQL, GraphiQLPluginExplorer } = window;
const data = JSON.parse(document.getElementById("playground-data").textContent);
const pretty = (value) => (value === null ? "" : JSON.stringify(value, null, 2));
const byId = (id) => document.getElementById(id);

// What the last invoice said; tab 4 and the strip are filled from it.
let invoice = null;

// Transport ---------------------------------------------------------------------------------------------------

// Finds the operation to run. Just after a change of tabs the editor still names the operation, and holds the
// syntax tree, of the tab that was left; the text alone is right.
function chooseOperation(params) {
  let operations;
  try {
    const { definitions } = GraphiQL.GraphQL.parse(params.query);
    operations = definitions.filter((each) => each.kind === "OperationDefinition");
  } catch {
    return { params, kind: "query" }; // the server says what is wrong with it
  }
  const chosen = operations.find((each) => each.name?.value === params.operationName) ?? operations[0];
  if (operations.length !== 1) return { params, kind: chosen?.operation };
  return { params: { ...params, operationName: chosen.name?.value }, kind: chosen.operation };
}

// A socket cannot carry headers, so what the headers editor says goes into connection_init.
function connectionInit(headers) {
  return Object.fromEntries(Object.entries(headers ?? {}).filter(([, value]) => typeof value === "string"));
}

// Turns a subscription into an async iterator, which is what GraphiQL reads.
function stream(params, headers) {
  const ready = [];
  const waiting = [];
  let over = false;
  const give = (entry) => (waiting.length ? waiting.shift()(entry) : ready.push(entry));
  const finish = () => {
    over = true;
    give({ value: undefined, done: true });
  };
  const fail = (message) => {
    give({ value: { errors: [{ message }] }, done: false });
    finish();
  };
  const payload = { query: params.query, variables: params.variables, operationName: params.operationName };
  const stop = subscribe(data.endpoint, connectionInit(headers), payload, {
    next: (value) => {
      note(value);
      give({ value, done: false });
    },
    error: (errors) => {
      give({ value: { errors }, done: false });
      finish();
    },
    complete: finish,
    closed: (code, reason) => fail(`the connection closed: ${reason || "no reason given"} (${code})`),
  });
  const ended = { value: undefined, done: true };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => {
      if (ready.length) return Promise.resolve(ready.shift());
      if (over) return Promise.resolve(ended);
      return new Promise((resolve) => waiting.push(resolve));
    },
    return: () => {
      over = true;
      stop();
      for (const resolve of waiting.splice(0)) resolve(ended);
      return Promise.resolve(ended);
    },
  };
}

async function post(params, headers) {
  const response = await fetch(data.endpoint, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json", ...headers },
    credentials: "same-origin",
    body: JSON.stringify(params),
  });
  const text = await response.text();
  try {
    const result = JSON.parse(text);
    note(result);
    return result;
  } catch {
    return { errors: [{ message: `HTTP ${response.status}: ${text.slice(0, 400)}` }] };
  }
}

function fetcher(asked, { headers } = {}) {
  const { params, kind } = chooseOperation(asked);
  return kind === "subscription" ? stream(params, headers) : post(params, headers);
}

// The story ---------------------------------------------------------------------------------------------------

// Walks an answer and remembers the last invoice in it, whatever the fields around it are called.
function note(result) {
  if (!data.sandbox) return;
  const visit = (value) => {
    if (value === null || typeof value !== "object") return;
    if (typeof value.paymentRequest === "string") {
      remember({ paymentRequest: value.paymentRequest, id: value.id, checkoutUrl: value.checkoutUrl });
    }
    for (const child of Object.values(value)) visit(child);
    if (typeof value.clientSecret === "string" && value.payment?.id) {
      remember({ ...invoice, id: value.payment.id, clientSecret: value.clientSecret });
    }
  };
  visit(result.data);
}

function remember(seen) {
  invoice = seen;
  if (invoice.paymentRequest) byId("payment-request").value = invoice.paymentRequest;
  const link = byId("checkout-link");
  link.href = invoice.checkoutUrl ?? "";
  link.hidden = !invoice.checkoutUrl || !["http:", "https:"].includes(link.protocol);
  tell("", "good");
}

function tell(text, outcome) {
  byId("pay-result").textContent = text;
  byId("pay-result").dataset.outcome = outcome;
}

async function pay(event) {
  event.preventDefault();
  const paymentRequest = byId("payment-request").value.trim().replace(/^lightning:/i, "");
  if (!paymentRequest) {
    tell("There is no invoice yet: run GenerateInvoice in the second tab.", "bad");
    return;
  }
  byId("pay-button").disabled = true;
  tell("Paying…", "good");
  try {
    const response = await fetch(data.payUrl, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ paymentRequest }),
    });
    const answer = await response.json().catch(() => ({}));
    if (response.ok) tell(`Paid. Preimage ${String(answer.preimage ?? "").slice(0, 12)}…`, "good");
    else tell(`Not paid: ${answer.message ?? answer.detail ?? answer.error ?? `HTTP ${response.status}`}`, "bad");
  } catch {
    tell("Not paid: the server did not answer.", "bad");
  } finally {
    byId("pay-button").disabled = false;
  }
}

// Fills the variables of a tab that reads a payment, when it is opened after an invoice was made.
function FillSettledArticle() {
  const editors = GraphiQL.React.useEditorContext({ nonNull: true });
  const tab = editors.tabs[editors.activeTabIndex];
  React.useEffect(() => {
    if (tab?.title !== "SettledArticle" || !invoice?.clientSecret || !editors.variableEditor) return;
    const filled = pretty({ id: invoice.id, clientSecret: invoice.clientSecret });
    if (editors.variableEditor.getValue() !== filled) editors.variableEditor.setValue(filled);
  }, [tab?.id, editors.variableEditor]);
  return null;
}

// Style elements that the editor makes later carry the page's nonce, so that its policy needs no exception.
function allowOwnStyles() {
  const { nonce } = document.querySelector("script[nonce]");
  const create = document.createElement;
  document.createElement = function createElement(name, options) {
    const element = create.call(this, name, options);
    if (name === "style") element.nonce = nonce;
    return element;
  };
}

// The editor --------------------------------------------------------------------------------------------------

// Keeps tabs for this browser tab only: they may hold a key or a client secret. One story an article, so that a
// new sandbox starts afresh. The theme and the layout outlive it.
function storage() {
  const article = data.tabs[1].variables?.input?.articleId ?? "";
  const prefix = `quittance:${article}:`;
  const place = (key) => (/theme|flex/i.test(key) ? [localStorage, key] : [sessionStorage, prefix + key]);
  const through = (method) => (key, ...rest) => {
    const [store, name] = place(key);
    return store[method](name, ...rest);
  };
  return {
    getItem: through("getItem"),
    setItem: through("setItem"),
    removeItem: through("removeItem"),
    clear: () => sessionStorage.clear(),
    get length() {
      return sessionStorage.length;
    },
  };
}

function Playground() {
  const headers = pretty(data.headers);
  return React.createElement(
    GraphiQL,
    {
      fetcher,
      storage: storage(),
      plugins: [explorer],
      defaultTabs: data.tabs.map((tab) => ({ query: tab.query, variables: pretty(tab.variables), headers })),
      defaultHeaders: headers,
      defaultQuery: "",
      defaultEditorToolsVisibility: data.sandbox ? "variables" : true,
      inputValueDeprecation: true,
      isHeadersEditorEnabled: true,
      shouldPersistHeaders: data.sandbox,
    },
    React.createElement(
      GraphiQL.Logo,
      null,
      React.createElement("span", { className: "wordmark" }, "Quittance"),
      React.createElement(FillSettledArticle),
    ),
  );
}

const explorer = GraphiQLPluginExplorer.explorerPlugin();
allowOwnStyles();
byId("pay")?.addEventListener("submit", pay);
ReactDOM.createRoot(byId("graphiql")).render(React.createElement(Playground));
