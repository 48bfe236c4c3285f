/** Languages of the page: a code, and how its speakers call it. Another one is a line here and a file beside it. */
export const LANGUAGES = { en: "English", de: "Deutsch" };
