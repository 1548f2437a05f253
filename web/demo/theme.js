// A plain script in the head, so that the page never shows in the wrong colours first. The system's choice holds until the button is pressed,
// and again once what was chosen is the same.
{
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const keep = (theme) => { try { theme ? localStorage.setItem("theme", theme) : localStorage.removeItem("theme"); } catch { /* private mode */ } };
  let chosen = kept();
  const dark = () => (chosen ? chosen === "dark" : system.matches);

  const show = () => {
    if (chosen) document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
    document.getElementById("theme")?.setAttribute("aria-pressed", String(dark()));
  };

  show();
  system.addEventListener("change", show);
  addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme").addEventListener("click", () => {
      const wanted = dark() ? "light" : "dark";
      chosen = (wanted === "dark") === system.matches ? null : wanted;
      keep(chosen);
      show();
    });
  });
}
