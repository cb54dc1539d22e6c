// Opens the page: what is small at once, the samples when they are unpacked.

function showTheme() {
  const isDark = document.documentElement.dataset.theme === "dark";
  at("theme").textContent = isDark ? "light" : "dark";
}

function chooseTheme() {
  const prefers = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => { document.documentElement.dataset.theme = prefers.matches ? "dark" : "light"; showTheme(); redrawCharts(); };
  prefers.addEventListener("change", follow);
  follow();
  at("theme").onclick = () => {
    document.documentElement.dataset.theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    showTheme();
    redrawCharts();
  };
}

function showSections() {
  for (const section of document.querySelectorAll("section[data-title]")) {
    const link = element(at("sections"), "a", section.dataset.title);
    link.href = `#${section.id}`;
    // The address holds the filters.
    link.onclick = event => { event.preventDefault(); section.scrollIntoView({behavior: "smooth"}); };
  }
}

// Plotly comes by way of an address, so that it is compiled beside the page's own work; that all of it is wanted at once
// its first line says. Resolves when it has run.
async function startPlotly(script) {
  const source = new Blob(["//# allFunctionsCalledOnLoad\n", await script], {type: "text/javascript"});
  const made = document.createElement("script");
  made.src = URL.createObjectURL(source);
  await new Promise((done, fail) => {
    made.onload = done;
    made.onerror = () => fail(new Error("plotly cannot be run"));
    document.head.appendChild(made);
  });
  URL.revokeObjectURL(made.src);
}

async function open() {
  const samples = readJson("samples"), plotly = unpack("plotly");
  Object.assign(report, JSON.parse(at("data").textContent));
  chooseTheme();
  showTitle();
  showTiles();
  showStages();
  showCurves();
  showTiming();
  showCorrections();
  at("all-measures").onchange = showEvaluations;
  showEvaluations();
  showSettings();
  showEnvironment();
  report.samples = await samples;
  const started = charts.size ? startPlotly(plotly) : null;
  showSamples();
  showSections();
  await painted();
  performance.mark("samples");
  await started;
  redrawCharts();
  await painted();
  performance.mark("ready");
  document.documentElement.dataset.ready = "true";
}

// Until the frame in which all that was made is drawn.
function painted() {
  return new Promise(done => requestAnimationFrame(() => setTimeout(done)));
}

function tellTrouble(text) {
  at("trouble").hidden = false;
  at("trouble").textContent = text;
}

if (typeof DecompressionStream === "undefined") tellTrouble("This page needs a browser that has DecompressionStream: Chrome 111, Firefox 113, Safari 16.4 or later.");
else open().catch(error => { tellTrouble(`The page cannot be shown: ${error}`); throw error; });
