// What every page has. Pages bring modules of their own in their block `scripts`.
import { copyButtons } from "./copy.mjs";
import { forms } from "./forms.mjs";
import { limits } from "./limits.mjs";
import { themes } from "./themes.mjs";
import { times } from "./times.mjs";
import { toasts } from "./toasts.mjs";

// What scripts do in the place of a form comes before what is done with all forms.
themes(document);
forms(document);
limits(document);
copyButtons(document);
times(document);
toasts(document);
