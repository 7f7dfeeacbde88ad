/* Timers of scripts, and what scripts send and ask, without a runtime around them: this test is the loop. */
#include "../../support/unit.h"

#include <lauxlib.h>
#include <lua.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "script/binding/send.h"
#include "script/bounds/watchdog.h"
#include "script/hook.h"
#include "script/wait/ask.h"
#include "script/wait/timer.h"

static struct script_state *state;
static char logged[8192];

static void keep_log(void *context, enum script_log_level level, struct slice text)
{
    size_t length = strlen(logged);
    (void)context, (void)level;
    snprintf(logged + length, sizeof logged - length, "%.*s\n", (int)text.length, text.data);
}

static void open_bundle(struct lua_State *lua)
{
    CHECK(luaL_dostring(lua, "package.preload['luaduct.bridge.silent'] = function() return {} end") == 0);
}

static void load(const char *source)
{
    char folder[] = "/tmp/luaduct-timer-XXXXXX", path[64], error[512];
    CHECK(mkdtemp(folder) && watchdog_install());
    snprintf(path, sizeof path, "%s/one.lua", folder);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(source, file) >= 0 && fclose(file) == 0);
    const char *paths[] = {path};
    struct script_options options = {.paths = paths,
                                     .path_count = 1,
                                     .mode = "silent",
                                     .budget_ms = 1000,
                                     .memory_limit = 16u << 20,
                                     .log = keep_log,
                                     .wake_fd = -1,
                                     .open_bundle = open_bundle};
    hash_start();
    state = script_state_new(&options, error, sizeof error);
    if (!state)
        fprintf(stderr, "%s\n", error);
    unlink(path);
    rmdir(folder);
    CHECK(state);
}

/* Waits for the next timer, and runs it. */
static enum script_result run_next(void)
{
    CHECK(script_next_timer(state) != UINT64_MAX);
    while (script_next_timer(state) > clock_steady_ns() / 1000000)
        usleep(500);
    return script_run_timer(state);
}

static struct script_statistics statistics(void)
{
    struct script_statistics out;
    script_read_statistics(state, &out);
    return out;
}

/* Lets the hook that has just begun to wait go on. */
static enum script_result go_on(struct script_wait *wait)
{
    struct script_answer answer = {0};
    struct script_outcome outcome;
    return script_resume(state, wait, &answer, &outcome);
}

TEST("timers: those made at load run once the state is live, and none after it was stopped")
{
    load("luaduct.every(1, function() print('every') end)\n"
         "luaduct.after(0, function(bridge) print(bridge.agent('x')) end)\nreturn {}");
    CHECK(script_next_timer(state) == UINT64_MAX);
    script_start_timers(state);
    CHECK(run_next() == SCRIPT_DECIDED && strcmp(logged, "nil\n") == 0);
    CHECK(run_next() == SCRIPT_DECIDED && run_next() == SCRIPT_DECIDED);
    CHECK(strcmp(logged, "nil\nevery\nevery\n") == 0 && statistics().hooks[HOOK_TIMER].calls == 3);
    script_stop_timers(state);
    CHECK(script_next_timer(state) == UINT64_MAX);
    script_state_free(state);
}

TEST("timers: an every that failed runs again, an after does not")
{
    load("local n = 0\nluaduct.every(1, function() n = n + 1 error('try ' .. n) end)\n"
         "luaduct.after(0, function() error({}) end)\nreturn {}");
    script_start_timers(state);
    CHECK(run_next() == SCRIPT_FAILED && run_next() == SCRIPT_FAILED && run_next() == SCRIPT_FAILED);
    CHECK(strstr(logged, "timer failed: ") && strstr(logged, "one.lua:2: try 2") && !strstr(logged, "try 3"));
    CHECK(statistics().hooks[HOOK_TIMER].errors == 3);
    script_state_free(state);
}

TEST("timers: one that waits is not due before it has ended, and the state may be closed meanwhile")
{
    load("luaduct.every(1, function() print('a') luaduct.sleep(1) print('b') end)\nreturn {}");
    script_start_timers(state);
    CHECK(run_next() == SCRIPT_WAITS);
    struct script_wait *wait = script_take_wait(state);
    CHECK(wait && script_wait_request(wait)->ms == 1 && script_next_timer(state) == UINT64_MAX);
    CHECK(go_on(wait) == SCRIPT_DECIDED && strcmp(logged, "a\nb\n") == 0);
    CHECK(script_next_timer(state) != UINT64_MAX && run_next() == SCRIPT_WAITS);
    CHECK(script_take_wait(state));
    script_state_free(state);
}

TEST("timers: one that is given up while it waits runs again at its time")
{
    load("luaduct.every(1, function() luaduct.sleep(1) end)\nreturn {}");
    script_start_timers(state);
    for (int i = 0; i < 3; i++) {
        CHECK(run_next() == SCRIPT_WAITS);
        script_abandon(state, script_take_wait(state), "given up");
    }
    CHECK(strstr(logged, "timer failed: ") && strstr(logged, "given up") && statistics().hooks[HOOK_TIMER].errors == 3);
    script_state_free(state);
}

TEST("timers: many come in the order of their times, whichever of them are cancelled")
{
    load("local handles, last, count = {}, 0, 0\n"
         "for i = 1, 1000 do\n"
         "  local ms = 1 + i * 7919 % 1009 % 20\n"
         "  handles[i] = luaduct.after(ms, function() assert(ms >= last) last = ms count = count + 1 end)\n"
         "end\n"
         "for i = 1, 1000, 3 do assert(handles[i]:cancel()) end\n"
         "luaduct.after(1000, function() print(count) end)\nreturn {}");
    script_start_timers(state);
    for (int i = 0; i < 667; i++)
        CHECK(run_next() == SCRIPT_DECIDED);
    CHECK(strcmp(logged, "666\n") == 0 && script_next_timer(state) == UINT64_MAX);
    script_state_free(state);
}

TEST("timers: neither they nor what they send and ask leave anything behind when the state is closed")
{
    load("luaduct.after(0, function(bridge)\n"
         "  pcall(bridge.gather, {requests = {{to = 'a', payload = ('x'):rep(10000)}, {to = 1}}})\n"
         "  bridge.send{to = {'a', 'b'}, payload = ('x'):rep(10000)}\n"
         "  bridge.request{to = 'a', payload = ('x'):rep(10000)}\nend)\n"
         "luaduct.every(1, print)\nreturn {}");
    script_start_timers(state);
    CHECK(run_next() == SCRIPT_WAITS && script_take_wait(state) && script_has_sends(state));
    script_state_free(state); /* a leak checker sees the rest */
}

TEST("sending: an envelope has what it was given, a maker and recipients")
{
    load("luaduct.after(0, function(bridge)\n"
         "  print(bridge.send{to = 'a', id = 'x', intent = 'i', payload = {n = 1}})\n"
         "  bridge.send{to = {'a', 'b'}, from = 'me', role = 'r', tools = {}}\nend)\nreturn {}");
    script_start_timers(state);
    CHECK(run_next() == SCRIPT_DECIDED && strcmp(logged, "x\n") == 0);
    struct script_send *first = script_take_send(state), *second = script_take_send(state);
    CHECK(first && second && !script_take_send(state) && !script_has_sends(state));
    CHECK(first->agent_count == 1 && slice_equal(first->agents[0], SLICE("a")));
    CHECK(second->agent_count == 2 && slice_equal(second->agents[1], SLICE("b")));
    char text[512];
    snprintf(text, sizeof text, "%.*s", (int)frame_envelope(first->frame).length, frame_envelope(first->frame).data);
    CHECK(strstr(text, "{\"id\":\"x\",\"timestamp\":\"20") && strstr(text, "\"intent\":\"i\"") &&
          strstr(text, "\"from\":\"bridge\",\"role\":\"bridge\",\"to\":\"a\"") &&
          strstr(text, "\"payload\":{\"n\":1}"));
    snprintf(text, sizeof text, "%.*s", (int)frame_envelope(second->frame).length, frame_envelope(second->frame).data);
    CHECK(strstr(text, "\"from\":\"me\",\"role\":\"r\",\"to\":null") && strstr(text, "\"tools\":[]"));
    script_send_free(first);
    script_send_free(second);
    script_state_free(state);
}

TEST("asking: a request becomes a question with its agents, times and tries")
{
    load("luaduct.after(0, function(bridge)\n"
         "  print(bridge.request{to = {'a', 'b'}, id = 'x', taskId = 't', timeoutMs = 7, retries = 3, backoffMs = 5})\n"
         "  bridge.gather{to = {'c', 'd', 'e'}, count = 2, timeoutMs = 9}\nend)\nreturn {}");
    script_start_timers(state);
    CHECK(run_next() == SCRIPT_WAITS);
    struct script_wait *wait = script_take_wait(state);
    struct script_request *request = script_wait_request(wait);
    const struct script_question *question = request->questions;
    CHECK(request->question_count == 1 && request->needed == 1 && !request->gathers && !question->next);
    CHECK(question->id == hash_slice(SLICE("x")) && question->task == hash_slice(SLICE("t")));
    CHECK(question->timeout_ms == 7 && question->retries == 3 && question->backoff_ms == 5);
    CHECK(question->agent_count == 2 && slice_equal(question->agents[1], SLICE("b")));
    struct script_answer answer = {.code = CODE_TASK_TIMEOUT, .text = SLICE("too late")};
    struct script_outcome outcome;
    CHECK(script_resume(state, wait, &answer, &outcome) == SCRIPT_WAITS);
    CHECK(strcmp(logged, "nil\ttoo late\ttask_timeout\n") == 0);
    request = script_wait_request(script_take_wait(state));
    CHECK(request->question_count == 3 && request->needed == 2 && request->gathers && request->ms == 9);
    unsigned index = 0;
    for (question = request->questions; question; question = question->next) {
        CHECK(question->index == ++index && question->agent_count == 1 && question->task == 0);
        CHECK(!question->next || question->id != question->next->id);
    }
    script_state_free(state);
}
