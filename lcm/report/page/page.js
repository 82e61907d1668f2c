// Charts take the colours of the page, so that light, dark and print need one drawing.
const ink = "currentColor";
const config = {
  background: null,
  view: { stroke: null },
  font: "system-ui, sans-serif",
  axis: { labelColor: ink, titleColor: ink, domainColor: ink, tickColor: ink, gridColor: ink, gridOpacity: 0.15,
    // a label at an end that is shifted inwards would run into its neighbour
    labelFlush: false, labelOverlap: true, labelSeparation: 8,
    domainOpacity: 0.4, tickOpacity: 0.4, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
  legend: { labelLimit: 0, labelColor: ink, titleColor: ink, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
  header: { labelColor: ink, titleColor: ink, labelFontSize: 13, titleFontSize: 12 },
  title: { color: ink, fontSize: 13, fontWeight: "normal" },
};

for (const figure of document.querySelectorAll("figure.chart")) {
  const specification = JSON.parse(figure.querySelector("script").textContent);
  const place = figure.querySelector(".plot");
  place.replaceChildren();
  vegaEmbed(place, specification, { config, renderer: "svg", actions: false }).catch((error) => {
    place.textContent = `This chart could not be drawn: ${error.message}`;
  });
}

for (const figure of document.querySelectorAll("figure.graph")) {
  const about = figure.querySelector(".about");
  for (const part of figure.querySelectorAll("[data-about]")) {
    for (const event of ["mouseenter", "focus"]) {
      part.addEventListener(event, () => { about.textContent = part.dataset.about; });
    }
  }
  const slider = figure.querySelector("input");
  if (!slider) continue;
  const rates = JSON.parse(figure.dataset.rates);
  const draw = () => {
    const shown = [...figure.querySelectorAll(".arrow")].filter((arrow) => {
      const accepted = Number(arrow.dataset.since) <= Number(slider.value);
      arrow.toggleAttribute("hidden", !accepted);
      return accepted;
    }).length;
    const rate = String(rates[slider.value]);
    figure.querySelector("output").textContent = rate;
    slider.setAttribute("aria-valuetext", rate);
    figure.querySelector(".count").textContent = `${shown} edge${shown === 1 ? "" : "s"}`;
  };
  slider.addEventListener("input", draw);
  draw();
}

// What opens on demand is printed as well.
addEventListener("beforeprint", () => document.querySelectorAll("main details").forEach((one) => { one.open = true; }));
