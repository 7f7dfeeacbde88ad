/* Decimal to double and back, correctly rounded and without the locale. Any thread. */
#ifndef LUADUCT_PROTOCOL_JSON_NUMBER_H
#define LUADUCT_PROTOCOL_JSON_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that json_number_write writes at most. */
#define JSON_NUMBER_BYTES 32

/* A finite number as JSON, no NUL: the shortest text that reads back as it. Returns its bytes. */
size_t json_number_write(double number, char out[JSON_NUMBER_BYTES]);

/* Reads the number at the start of the text as JSON has it. The byte behind it; NULL when there is none, or (*wide)
 * one that no double can hold, or memory is out. */
const char *json_number_read(const char *text, const char *end, double *number, bool *wide);

#endif
