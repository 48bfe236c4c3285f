/** What is needed before anything is seen: the texts and the look. All else comes once the page is painted. */

import { offerLanguages, speak } from "./texts.js";
import { takeTheme } from "./choices.js";

takeTheme(document.getElementById("theme"));
await speak();
offerLanguages(document.getElementById("language"));
await new Promise((resolve) => {
  requestAnimationFrame(() => setTimeout(resolve)); // after the frame, or ...
  setTimeout(resolve, 200); // ... in a tab behind others, which draws none
});
document.head.append(document.getElementById("later").content); // all modules at once, none after the other
await import("./main.js");
