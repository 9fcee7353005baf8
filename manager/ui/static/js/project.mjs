// The page of a project: charts of what its tables say.
import { charts } from "./charts.mjs";

charts(document);
