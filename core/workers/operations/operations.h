/* Inside of the workers room: the operations by their functions; operation.c lists them. */
#ifndef LUADUCT_WORKERS_OPERATIONS_OPERATIONS_H
#define LUADUCT_WORKERS_OPERATIONS_OPERATIONS_H

#include "workers/operation.h"

operation_function operation_vector_operations;
operation_function operation_json_parse, operation_json_stringify, operation_json_query;
operation_function operation_text_analysis, operation_aggregate;
operation_function operation_hash;
operation_function operation_compress, operation_decompress;
operation_function operation_sort;
operation_function operation_regex_extract;

#endif
