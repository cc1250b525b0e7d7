(function () {
  "use strict";
  var root = document.documentElement;
  var island = document.getElementById("charts");
  var specs = island ? JSON.parse(island.textContent) : {};
  var views = {};
  root.classList.add("scripted");

  function draw(panel) {
    panel.querySelectorAll("[data-chart]").forEach(function (place) {
      var name = place.dataset.chart;
      if (views[name] || !specs[name]) { return; }
      views[name] = true;
      window.vegaEmbed(place, specs[name], {
        mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false,
        tooltip: { disableDefaultStyle: true, theme: "none" }
      }).then(function (drawn) { views[name] = drawn.view; });
    });
  }

  document.querySelectorAll(".switch").forEach(function (group) {
    var panels = group.querySelectorAll("[data-panel]");
    var buttons = group.querySelectorAll("[data-show]");
    function show(name) {
      panels.forEach(function (panel) { panel.hidden = panel.dataset.panel !== name; });
      buttons.forEach(function (button) {
        button.setAttribute("aria-pressed", String(button.dataset.show === name));
      });
      panels.forEach(function (panel) { if (!panel.hidden) { draw(panel); } });
    }
    buttons.forEach(function (button) {
      button.addEventListener("click", function () { show(button.dataset.show); });
    });
    show(buttons[0].dataset.show);
  });
  document.querySelectorAll("figure").forEach(function (figure) {
    if (!figure.closest("[hidden]")) { draw(figure); }
    var keys = figure.querySelectorAll("[data-pick]");
    keys.forEach(function (key) {
      key.addEventListener("click", function () {
        var on = key.getAttribute("aria-pressed") !== "true";
        keys.forEach(function (other) { other.setAttribute("aria-pressed", String(on && other === key)); });
        var view = views[figure.querySelector("[data-chart]").dataset.chart];
        if (view && view.signal) { view.signal("pick", on ? key.dataset.pick : "").run(); }
      });
    });
  });

  var toggle = document.getElementById("theme");
  var system = window.matchMedia("(prefers-color-scheme: dark)");
  function dark() { return root.dataset.theme ? root.dataset.theme === "dark" : system.matches; }
  function label() { toggle.textContent = dark() ? "Light" : "Dark"; }
  toggle.hidden = false;
  toggle.setAttribute("aria-label", "Change between light and dark");
  toggle.addEventListener("click", function () { root.dataset.theme = dark() ? "light" : "dark"; label(); });
  system.addEventListener("change", label);
  label();
})();
