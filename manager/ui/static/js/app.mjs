// What every page has. Pages bring modules of their own in their block `scripts`.
import { copyButtons } from "./copy.mjs";
import { forms } from "./forms.mjs";
import { limits } from "./limits.mjs";
import { themes } from "./themes.mjs";
import { times } from "./times.mjs";
import { toasts } from "./toasts.mjs";

copyButtons(document);
forms(document);
limits(document);
themes(document);
times(document);
toasts(document);
