// The dashboard: charts of what its tables say, which change by themselves (live.mjs).
import { charts } from "./charts.mjs";

charts(document);
