// Draws the figures of the report, each when it comes near the window, in the colors that the page has now.
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let style = getComputedStyle(document.documentElement);

  const painted = (value) => {
    if (typeof value === "string") {
      const name = /^var\((--[\w-]+)\)$/.exec(value);
      return name ? style.getPropertyValue(name[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map(painted);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, painted(item)]));
    }
    return value;
  };

  const axis = (given) => ({
    gridcolor: "var(--rule)", zerolinecolor: "var(--rule)", linecolor: "var(--rule)", automargin: true, exponentformat: "power", ...given,
    ...(given && given.title ? { title: { standoff: 12, ...given.title } } : {}),
  });

  const HEIGHT = 380; // px, of a figure that does not say

  const draw = (place) => {
    const { data, layout } = figures[place.dataset.figure];
    const whole = {
      height: HEIGHT, margin: { l: 60, r: 20, t: 20, b: 46 }, hovermode: "closest", showlegend: data.length > 1,
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: "var(--ink)" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "var(--muted)", activecolor: "var(--ink)" },
      hoverlabel: { bgcolor: "var(--panel)", bordercolor: "var(--rule)", font: { color: "var(--ink)" } },
      ...layout, xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
    };
    const options = {
      responsive: true, displaylogo: false, displayModeBar: place.closest(".slices") ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    };
    Plotly.react(place, painted(data), painted(whole), options);
    place.dataset.drawn = "yes";
  };

  const places = [...document.querySelectorAll("[data-figure]")];
  const near = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) {
      if (isIntersecting) { near.unobserve(target); draw(target); }
    }
  }, { rootMargin: "900px" });
  places.forEach((place) => {
    place.style.minHeight = `${figures[place.dataset.figure].layout.height ?? HEIGHT}px`; // else a link misses its target
    near.observe(place);
  });
  addEventListener("beforeprint", () => places.filter((place) => !place.dataset.drawn).forEach(draw));
  dark.addEventListener("change", () => {
    style = getComputedStyle(document.documentElement);
    places.filter((place) => place.dataset.drawn).forEach(draw);
  });
})();
