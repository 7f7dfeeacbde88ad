/* What a run of the load generator found, for people and for programs. */
#ifndef LUADUCT_CLIENT_BENCH_REPORT_H
#define LUADUCT_CLIENT_BENCH_REPORT_H

#include <stdio.h>

#include "client/bench/bench_http.h"

const char *bench_scenario_name(enum bench_scenario scenario);

/* A few lines of aligned text. http: what BENCH_HTTP found besides, NULL for the other scenarios. */
void bench_report_text(FILE *out, const struct bench_plan *plan, const struct bench_result *result,
                       const struct bench_http_result *http);

/* One JSON object on one line. Figures that are unknown (the server's, without its pid) are null. */
void bench_report_json(FILE *out, const struct bench_plan *plan, const struct bench_result *result,
                       const struct bench_http_result *http);

#endif
