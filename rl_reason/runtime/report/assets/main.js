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

// Its hash stands in the page's policy, so that it may run; packed it is a third as large.
async function startPlotly(script) {
  const made = document.createElement("script");
  made.textContent = new TextDecoder().decode(await script);
  document.head.appendChild(made);
  redrawCharts();
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
  showSamples();
  showSections();
  await painted();
  performance.mark("samples");
  if (charts.size) await startPlotly(plotly);
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
