// The page of a token: charts of what its tables say.
import { charts } from "./charts.mjs";

charts(document);
