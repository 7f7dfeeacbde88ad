# Luaduct. `make help` lists the targets. Another compiler: make CC=clang; another folder: make BUILD=/tmp/luaduct.

# PORTABLE=1: for POSIX and libev alone, as elsewhere than on Linux.
PORTABLE ?=
LINUX := $(if $(PORTABLE),,$(filter Linux,$(shell uname -s)))
BUILD ?= $(if $(PORTABLE),build/portable,build)
PREFIX ?= /usr/local
DESTDIR ?=
CC = gcc
# Link-time optimisation saves 4 % of the time that a message takes; clang's way of it needs other tools.
CFLAGS = -O2 -g $(if $(filter gcc,$(CC)),-flto=auto)
# Of gcc and clang: address,undefined or thread; for a build folder of its own.
SANITIZE =
# Seconds for each fuzz target; of fuzz-campaign: which targets, and how many inputs for each.
FUZZ_SECONDS ?= 10
FUZZ_NAMES ?= $(fuzz_names)
RUNS ?= 10000000
# The tests to run, and how busted shows them.
SPECS ?= $(sort $(shell find tests \( -name node_modules -o -path tests/portable \) -prune -o -name '*_spec.lua' -print))
# What is run with a portable build.
PORTABLE_SPECS ?= tests/unit/units_spec.lua $(sort $(wildcard tests/portable/*_spec.lua tests/integration/websocket/*_spec.lua) \
	$(addprefix tests/integration/,$(addsuffix _spec.lua,$(portable_parts))))
portable_parts = client delivery drain limits mailbox proxy http/http_protocol script/chain tls/protocol
BUSTED_OUTPUT ?= utfTerminal
# Of bench-regression.
DURATION ?= 5m

# All processors, unless the caller chose otherwise; a make below this one takes part in its jobs.
JOBS := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
ifeq ($(MAKELEVEL) $(filter -j%,$(MAKEFLAGS)),0 )
MAKEFLAGS += -j$(JOBS)
endif
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL = build

# What differs between systems is in a few files, of which there are two: *_linux.c and *_posix.c.
core_sources := $(sort $(shell find core -name '*.c' ! -path core/main.c ! -name '*_$(if $(LINUX),posix,linux).c'))
lua_sources := $(sort $(shell find lua -name '*.lua' ! -name meta.lua 2>/dev/null)) $(wildcard config/luaduct.lua) \
	$(sort $(wildcard lua/luaduct/console/*))
unit_sources := $(sort $(shell find tests/unit -name '*.c' $(if $(LINUX),,! -name '*_linux_test.c')))
fuzz_names := $(patsubst tests/fuzz/%_fuzz.c,%,$(sort $(wildcard tests/fuzz/*_fuzz.c)))
peer_sources := $(sort $(wildcard bench/peers/*.c))
c_files := $(sort $(shell find core tests bench -name node_modules -prune -o -name '*.[ch]' -print 2>/dev/null))
# By the linters of what compilers see: the other system's files are compiled, and looked at by clang alone.
linted := $(filter-out tests/portable/% core/base/system/portable.h %_posix.c,$(c_files))
lua_files := $(sort $(shell find config lua scripts tests bench examples -name node_modules -prune -o -name '*.lua' -print 2>/dev/null))
shell_files := $(sort $(shell grep -rlI --exclude-dir=node_modules -E '^\#!/bin/(ba)?sh' .ci bench examples scripts tests 2>/dev/null))

core_objects := $(core_sources:%.c=$(BUILD)/obj/%.o) $(BUILD)/obj/gen/bundle.o
unit_objects := $(unit_sources:%.c=$(BUILD)/obj/%.o)
replays := $(fuzz_names:%=$(BUILD)/replay/%)
preloaded := $(BUILD)/tests/malloc_counter.so $(BUILD)/tests/thread_fault.so $(BUILD)/tests/fault.so
bench_objects := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard bench/micro/*.c))
manual := $(addprefix $(BUILD)/manual/,luaduct.1 luaduct.lua.5 bash zsh)
peers := $(peer_sources:bench/peers/%.c=$(BUILD)/peers/%)

# Looked up when first used, for on a bare machine scripts/setup installs pkg-config first.
luajit_cflags = $(eval luajit_cflags := $(shell pkg-config --cflags luajit))$(luajit_cflags)

# What the compiler adds against memory errors; -fcf-protection: jumps land only where code begins, where the processor has
# it. Position independence is the default of Debian's compilers.
hardening = -fPIE -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=3 $(if $(filter x86_64,$(shell uname -m)),-fcf-protection=full)
sanitizing = -fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined -fno-omit-frame-pointer
warnings = -Wall -Wextra -Wshadow -Werror=implicit-function-declaration
# A portable build on Linux is shown nothing of it: POSIX, and what all of Unix has. Elsewhere all is visible anyway.
system_flags = $(if $(LINUX),-D_GNU_SOURCE -DLUADUCT_LINUX,$(portable_flags))
portable_flags = $(if $(filter Linux,$(shell uname -s)),-D_XOPEN_SOURCE=700 -D_DEFAULT_SOURCE -Itests/portable/include) -include core/base/system/portable.h
compile_flags = -std=gnu11 $(system_flags) $(CFLAGS) $(warnings) -Icore $(luajit_cflags) $(if $(SANITIZE),$(sanitizing),$(hardening)) -pthread
link_flags = $(LDFLAGS) -pthread -Wl,--as-needed -pie -Wl,-z,relro,-z,now,-z,noexecstack $(if $(SANITIZE),$(sanitizing))
# LuaJIT is linked in: a dozen calls into it for each message cost 5 % less without the detour through the dynamic
# linker's table.
# Modules in C that specs of scripts load (`luaduct test`) take Lua's interface from the binary.
exports = -Wl,--export-dynamic-symbol='lua_*' -Wl,--export-dynamic-symbol='luaL_*'
libraries = -l:libluajit-5.1.a $(if $(LINUX),-ldl) -lev -lz -lmbedtls -lmbedx509 -lmbedcrypto -lcrypto -l:libpcre2-8.a -ledit -lncursesw -ltinfo $(if $(LINUX),-lseccomp) -lm
# A part of the suite is what has one of some words in its path: specs, and files of C unit tests, which one spec runs.
memory_words = memory pressure pool allocation mailbox
worker_words = worker operation
comma = ,
none =
part = SPECS='$(sort tests/unit/units_spec.lua $(foreach word,$(1),$(foreach spec,$(SPECS),$(if $(findstring $(word),$(spec)),$(spec)))))' \
	LUADUCT_UNIT_FILES='$(subst $(none) $(none),$(comma),$(strip $(1)))'
suite = LUADUCT_BIN=$(abspath $(BUILD)/luaduct) LUADUCT_UNIT=$(abspath $(BUILD)/tests/unit) \
	LUADUCT_REPLAY=$(abspath $(BUILD)/replay) LUADUCT_NODE_MODULES=$(abspath tests/interop/node_modules) \
	$(if $(SANITIZE),,LUADUCT_MALLOC_COUNTER=$(abspath $(BUILD)/tests/malloc_counter.so) \
		LUADUCT_THREAD_FAULT=$(abspath $(BUILD)/tests/thread_fault.so) LUADUCT_FAULT=$(abspath $(BUILD)/tests/fault.so)) \
	luajit "$$(command -v busted)" --lpath='./?.lua;./lua/?.lua' --output=$(BUSTED_OUTPUT) $(BUSTED_FLAGS) $(SPECS)

## Running

run: ## Install what is missing, build, and start a bridge with config/luaduct.lua
	@scripts/setup run
	@$(MAKE) build
	@exec $(BUILD)/luaduct run config/luaduct.lua

run-enhanced: ## The same in enhanced mode, whatever the config says
	@scripts/setup run
	@$(MAKE) build
	@exec $(BUILD)/luaduct run --mode enhanced config/luaduct.lua

run-production: ## The same with config/production.lua
	@scripts/setup run
	@$(MAKE) build
	@exec $(BUILD)/luaduct run config/production.lua

run-tls: ## The same with TLS, and certificates for this machine in build/dev-certs (made when they are missing)
	@scripts/setup run
	@$(MAKE) build
	@test -e $(BUILD)/dev-certs/bridge.lua || $(BUILD)/luaduct cert dev $(BUILD)/dev-certs
	@echo 'Who connects trusts its authority: --ca $(BUILD)/dev-certs/ca.pem'
	@exec $(BUILD)/luaduct run $(BUILD)/dev-certs/bridge.lua

## Building

build: $(BUILD)/luaduct ## Build the program: build/luaduct

man: $(manual) ## Write the manual pages and the completions of shells: build/manual/

install: build ## Install under PREFIX (/usr/local), below DESTDIR
	@$(MAKE) install-files

install-files:
	install -d '$(DESTDIR)$(PREFIX)/share/man/man1' '$(DESTDIR)$(PREFIX)/share/man/man5' \
		'$(DESTDIR)$(PREFIX)/share/bash-completion/completions' '$(DESTDIR)$(PREFIX)/share/zsh/site-functions'
	$(BUILD)/luaduct help --man luaduct.1 >'$(DESTDIR)$(PREFIX)/share/man/man1/luaduct.1'
	$(BUILD)/luaduct help --man luaduct.lua.5 >'$(DESTDIR)$(PREFIX)/share/man/man5/luaduct.lua.5'
	$(BUILD)/luaduct completion bash >'$(DESTDIR)$(PREFIX)/share/bash-completion/completions/luaduct'
	$(BUILD)/luaduct completion zsh >'$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_luaduct'
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/doc/luaduct'
	install -m 755 $(BUILD)/luaduct '$(DESTDIR)$(PREFIX)/bin/luaduct'
	install -D -m 644 lua/luaduct/meta.lua '$(DESTDIR)$(PREFIX)/share/luaduct/meta/luaduct.lua'
	@for file in $$(find config -name '*.lua'); do \
		install -D -m 644 "$$file" "$(DESTDIR)$(PREFIX)/share/luaduct/$$file" || exit 1; \
	done
	sed 's|/usr/|$(PREFIX)/|' config/deploy/systemd/luaduct.service >'$(DESTDIR)$(PREFIX)/share/luaduct/luaduct.service'
	install -m 644 config/deploy/systemd/luaduct.sysusers '$(DESTDIR)$(PREFIX)/share/luaduct'
	install -m 644 config/deploy/debian/copyright '$(DESTDIR)$(PREFIX)/share/doc/luaduct/copyright'
	@for file in README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE $$(find docs -name '*.md' -o -name '*.yaml'); do \
		install -D -m 644 "$$file" "$(DESTDIR)$(PREFIX)/share/doc/luaduct/$$file" || exit 1; \
	done
	@for file in config/deploy/prometheus/* config/deploy/grafana/* config/deploy/k8s/*; do \
		install -D -m 644 "$$file" "$(DESTDIR)$(PREFIX)/share/doc/luaduct/examples/$${file#config/deploy/}" || exit 1; \
	done

uninstall: ## Remove what install put there
	rm -f '$(DESTDIR)$(PREFIX)/bin/luaduct' '$(DESTDIR)$(PREFIX)/share/man/man1/luaduct.1' \
		'$(DESTDIR)$(PREFIX)/share/man/man5/luaduct.lua.5' '$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_luaduct' \
		'$(DESTDIR)$(PREFIX)/share/bash-completion/completions/luaduct'
	rm -rf '$(DESTDIR)$(PREFIX)/share/luaduct' '$(DESTDIR)$(PREFIX)/share/doc/luaduct'

clean: ## Remove everything that was built
	rm -rf $(BUILD)

sbom: build ## List what the binary is made of: build/sbom.json (CycloneDX)
	@scripts/sbom $(BUILD)/luaduct >$(BUILD)/sbom.json
	@echo '$(BUILD)/sbom.json'

deb: ## Build the Debian package, checked by lintian: build/deb/luaduct_*.deb
	@scripts/setup package
	@scripts/deb $(BUILD)/deb

test-deb: deb ## Install, upgrade, remove and purge that package in a bare Debian 12 below build/ (needs root)
	@scripts/proof/package $(BUILD)/deb

test-image: ## Build the container image and run it, with buildah and podman below build/ (needs root; BASE=… to build on)
	@scripts/setup image
	@scripts/proof/image $(BUILD)/image $(BASE)

## Checking

test: ## Install what the tests need, build, and run all of them (SPECS=… for some)
	@scripts/setup test
	@$(MAKE) suite

check: build ## Check the configs that come with the project and its examples
	@for file in $(sort $(wildcard config/*.lua examples/*/config.lua)); do $(BUILD)/luaduct check "$$file" || exit 1; done

lint: lint-setup ## Formatting, luacheck, cppcheck, gcc's analyser, and every warning of gcc and clang
	@$(MAKE) lint-format lint-lua lint-shell lint-cppcheck lint-analyzer lint-gcc lint-clang

format: ## Format all C
	@clang-format -i $(c_files)

docs: build ## Write docs/config.md, config/luaduct.lua, docs/command-line.md, docs/metrics.md and Kubernetes' alerts again from what they describe
	@$(BUILD)/luaduct help --man command-line.md >$(BUILD)/command-line.md
	@mv $(BUILD)/command-line.md docs/command-line.md
	@luajit scripts/metrics.lua >docs/metrics.md
	@luajit scripts/prometheus-rule.lua >$(BUILD)/monitoring-alerts.yaml
	@cp $(BUILD)/monitoring-alerts.yaml config/deploy/k8s/monitoring-alerts.yaml
	@luajit -e "package.path = [[lua/?.lua;]] .. package.path \
		local document = require([[luaduct.config.document]]) \
		local texts = {[ [[docs/config.md]] ] = document.reference(), [ [[config/luaduct.lua]] ] = document.default_file()} \
		for path, text in pairs(texts) do \
			local file = assert(io.open(path, [[w]])) assert(file:write(text)) assert(file:close()) \
		end"

sanitize: ## Run all tests under ASan and UBSan, then under TSan
	@scripts/setup test
	@$(MAKE) sanitize-address
	@$(MAKE) sanitize-thread

fuzz: ## Fuzz every parser for FUZZ_SECONDS (10) each, from the kept corpus
	@$(MAKE) fuzz-build
	@for name in $(fuzz_names); do $(MAKE) "fuzz-$$name" || exit 1; done

fuzz-campaign: ## Give each fuzz target RUNS (10000000) inputs, two at a time; ends with a table (FUZZ_NAMES=… for some)
	@$(MAKE) fuzz-build
	@scripts/fuzz-campaign $(BUILD)/fuzz $(RUNS) $(FUZZ_NAMES)

fuzz-coverage: ## List the share of lines of each parser that its kept inputs and those found run (FUZZ_NAMES=… for some)
	@scripts/setup lint
	@$(MAKE) BUILD=$(BUILD)/fuzz-coverage CC=clang CFLAGS='-O1 -g -fprofile-instr-generate -fcoverage-mapping' \
		LDFLAGS=-fprofile-instr-generate replays
	@scripts/fuzz-coverage $(BUILD)/fuzz-coverage $(BUILD)/fuzz/found $(FUZZ_NAMES)

coverage: ## Run all tests, and list the share of lines that they ran, by file
	@scripts/setup test
	@rm -rf $(BUILD)/coverage
	@$(MAKE) BUILD=$(BUILD)/coverage CFLAGS='-Og -g --coverage -fprofile-update=atomic' LDFLAGS=--coverage suite
	@cd $(BUILD)/coverage && find obj/core -name '*.gcda' -exec gcov -n -r -s $(CURDIR) {} + 2>/dev/null | \
		awk -F "[':% ]+" '/^File/ { file = $$2 } \
			/^Lines executed/ && file ~ /^core\/.*\.c$$/ && !(file in lines) { \
				share = $$3; lines[file] = $$5; ran += share * $$5 / 100; all += $$5; \
				printf "%6.1f %%  %5d lines  %s\n", share, $$5, file } \
			END { if (all) printf "%6.1f %%  %5d lines  in all\n", 100 * ran / all, all }' | sort -k4

test-memory: ## The tests of memory: all under a path with memory, pressure, pool, allocation or mailbox in it
	@$(MAKE) test $(call part,$(memory_words))

test-workers: ## The tests of the worker threads: all under a path with worker or operation in it
	@$(MAKE) test $(call part,$(worker_words))

test-phase2: ## Both of these, and those of alerts, /optimization and the scripts that prove a bridge
	@$(MAKE) test $(call part,$(memory_words) $(worker_words) alert optimization scripts_spec)

test-integration: ## All under tests/integration
	@$(MAKE) test SPECS='$(filter tests/integration/%,$(SPECS))'

test-portable: ## Build for POSIX and libev alone, check that nothing of Linux is in it, and run the main tests with it
	@scripts/setup test
	@$(MAKE) $(portable_build) SPECS='$(PORTABLE_SPECS)' portable-suite

faults: ## Fail every call of the fault scenario, one after the other (some ten minutes)
	@LUADUCT_TEST_FAULTS=all $(MAKE) test SPECS=tests/integration/faults_spec.lua

verify: ## Measure the acceptance checklist (VERIFY=--quick for less than a minute)
	@scripts/setup bench
	@$(MAKE) build
	@LUADUCT_BIN=$(abspath $(BUILD)/luaduct) scripts/verify $(VERIFY)

bench-regression: ## Hold POST /send against bench/regression.json for DURATION (5m); UPDATE=1 stores a new one
	@scripts/setup run
	@$(MAKE) build
	@LUADUCT_BIN=$(abspath $(BUILD)/luaduct) scripts/proof/start regression --duration $(DURATION) \
		$(if $(UPDATE),--update) $(REGRESSION)

bench: ## Measure the bridge against its peers, and write bench/results/ (BENCH=… for options of bench/run)
	@scripts/setup bench
	@$(MAKE) build peers
	@bench/run --build $(BUILD) $(BENCH)

bench-console: build ## Measure frames of the console with 10,000 agents in Chromium (AGENTS=… for fewer)
	@scripts/setup test
	@LUADUCT_BIN=$(BUILD)/luaduct NODE_PATH=tests/interop/node_modules node bench/console.js

screenshots: build ## Take the pictures of the console in docs/img
	@scripts/setup test
	@LUADUCT_BIN=$(BUILD)/luaduct NODE_PATH=tests/interop/node_modules node tests/console/screenshots.js

bench-operations: $(BUILD)/bench/operations ## Build what bench/workers runs against Node's worker_threads

bench-decisions: $(BUILD)/bench/decisions ## Build what bench/decisions runs against Node

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 } /^## / { print substr($$0, 4) }' Makefile

# ---- what the targets above are made of ----

binaries: $(BUILD)/luaduct $(BUILD)/tests/unit $(replays) $(if $(SANITIZE),,$(preloaded))

suite: binaries
	@$(suite)

portable_build = PORTABLE=1 BUILD=$(BUILD)/portable CFLAGS='-O0 -g -Werror'

test-portable-build:
	@$(MAKE) $(portable_build) portable-binaries

portable-binaries: $(BUILD)/luaduct $(BUILD)/tests/unit

portable-suite: portable-binaries
	@LUADUCT_UNIT_FILES=base/system,net/ $(suite)

# Leaks count too. What is known of libraries stands in tests/*.supp, each with its reason.
address_build = BUILD=$(BUILD)/asan CFLAGS='-O1 -g' SANITIZE=address,undefined
thread_build = BUILD=$(BUILD)/tsan CFLAGS='-O1 -g' SANITIZE=thread

sanitize-address:
	@ASAN_OPTIONS=detect_leaks=1 \
		LSAN_OPTIONS=print_suppressions=0$(if $(wildcard tests/lsan.supp),:suppressions=$(abspath tests/lsan.supp)) \
		UBSAN_OPTIONS=print_stacktrace=1 LUADUCT_TEST_SLOW=1 $(MAKE) $(address_build) suite

sanitize-thread:
	@TSAN_OPTIONS=print_suppressions=0$(if $(wildcard tests/tsan.supp),:suppressions=$(abspath tests/tsan.supp)) \
		LUADUCT_TEST_SLOW=1 LUADUCT_TEST_TSAN=1 $(MAKE) $(thread_build) suite

sanitize-address-build:
	@$(MAKE) $(address_build) binaries

sanitize-thread-build:
	@$(MAKE) $(thread_build) binaries

lint-setup:
	@scripts/setup lint

lint-format:
	@clang-format --dry-run -Werror $(c_files)

lint-lua:
	@luacheck --quiet $(lua_files)

lint-shell:
	@for file in $(shell_files); do bash -n "$$file" || exit 1; done

lint-cppcheck:
	@cppcheck --quiet --std=c11 --enable=warning,performance,portability --suppressions-list=tests/cppcheck.supp \
		--error-exitcode=1 -j$(JOBS) --include=tests/analysis.h -Icore -D_GNU_SOURCE -DLUADUCT_LINUX $(filter core/%.c,$(linted))

# Takes ten minutes, so `make lint` leaves it out. What it says of the code goes to the standard output.
lint-tidy:
	@printf '%s\n' $(filter core/%.c,$(linted)) | xargs -P $(JOBS) -n 4 sh -c \
		'clang-tidy --quiet --warnings-as-errors="*" "$$@" -- $(compile_flags) -include tests/analysis.h 2>/dev/null' tidy

# Without optimisation it says least that is not so. gcc 12 loses what is reached through a pointer: all that the two
# checks found that are switched off was false. LeakSanitizer and -Wmaybe-uninitialized look for the same.
analyzer_flags = -O0 -fanalyzer -Wno-analyzer-malloc-leak -Wno-analyzer-use-of-uninitialized-value -include tests/analysis.h
lint-analyzer:
	@printf '%s\n' $(filter core/%.c,$(linted)) | xargs -P $(JOBS) -I '{}' \
		gcc $(filter-out -flto=auto -D_FORTIFY_SOURCE=3,$(compile_flags)) $(analyzer_flags) -Werror -c -o /dev/null '{}'

lint-gcc:
	@$(MAKE) BUILD=$(BUILD)/lint CC=gcc CFLAGS='-O2 -g -Werror' lint-objects

lint-objects: $(core_objects) $(BUILD)/obj/core/main.o $(unit_objects) $(peer_sources:%.c=$(BUILD)/obj/%.o) $(bench_objects) \
	$(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/fuzz/*.c))

lint-clang: $(BUILD)/gen/bundle.c
	@printf '%s\n' $(filter %.c,$(linted)) $< | xargs -P $(JOBS) -n 8 clang -fsyntax-only -Werror $(compile_flags)
	@$(MAKE) PORTABLE=1 BUILD=$(BUILD) lint-clang-posix

lint-clang-posix:
	@printf '%s\n' $(filter core/%_posix.c,$(c_files)) | xargs -P $(JOBS) -n 8 clang -fsyntax-only -Werror $(compile_flags)

fuzz-build:
	@scripts/setup lint
	@$(MAKE) BUILD=$(BUILD)/fuzz CC=clang CFLAGS='-O1 -g' SANITIZE=fuzzer-no-link,address,undefined fuzzers

fuzzers: $(fuzz_names:%=$(BUILD)/fuzzers/%)

replays: $(replays)

peers: $(peers)

# New finds go to the build folder first named, so the kept corpus changes only by hand.
fuzz-%:
	@mkdir -p $(BUILD)/fuzz/found/$* tests/fuzz/corpus/$*
	@echo "fuzz $*: $(FUZZ_SECONDS) s"
	@$(BUILD)/fuzz/fuzzers/$* -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
		-artifact_prefix=$(BUILD)/fuzz/failed-$*- $(if $(wildcard tests/fuzz/$*.dict),-dict=tests/fuzz/$*.dict) \
		$(BUILD)/fuzz/found/$* tests/fuzz/corpus/$* >$(BUILD)/fuzz/$*.log 2>&1 || { tail -50 $(BUILD)/fuzz/$*.log; exit 1; }
	@grep number_of_executed_units $(BUILD)/fuzz/$*.log

# ---- files ----

# Changed only when the words in it change: another compiler or flag builds all again, another list of files links again.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(compile_flags) / $(link_flags) $(libraries)' | cmp -s - $@ || \
		echo '$(CC) $(compile_flags) / $(link_flags) $(libraries)' >$@

$(BUILD)/files: FORCE
	@mkdir -p $(@D)
	@echo '$(core_sources) $(lua_sources) $(unit_sources)' | cmp -s - $@ || \
		echo '$(core_sources) $(lua_sources) $(unit_sources)' >$@

$(BUILD)/gen/bundle.c: scripts/bundle.lua $(lua_sources) $(BUILD)/files
	@mkdir -p $(@D)
	@luajit scripts/bundle.lua $@ $(lua_sources)

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  compile $<"
	@$(CC) $(compile_flags) -MMD -MP -c -o $@ $<

$(BUILD)/obj/gen/bundle.o: $(BUILD)/gen/bundle.c $(BUILD)/flags
	@mkdir -p $(@D)
	@$(CC) $(compile_flags) -MMD -MP -c -o $@ $<

$(BUILD)/core.a: $(core_objects) $(BUILD)/files
	@rm -f $@
	@ar rcs $@ $(core_objects)

$(BUILD)/luaduct: $(BUILD)/obj/core/main.o $(BUILD)/core.a
	@echo "  link    $@"
	@$(CC) $(link_flags) $(exports) -o $@ $^ $(libraries)

$(BUILD)/manual/bash $(BUILD)/manual/zsh: $(BUILD)/luaduct
	@mkdir -p $(@D)
	@$< completion $(@F) >$@

$(BUILD)/manual/%: $(BUILD)/luaduct
	@mkdir -p $(@D)
	@$< help --man $(@F) >$@

$(BUILD)/tests/unit: $(unit_objects) $(BUILD)/core.a
	@mkdir -p $(@D)
	@echo "  link    $@"
	@$(CC) $(link_flags) -o $@ $^ $(libraries)

$(preloaded): $(BUILD)/tests/%.so: tests/support/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	@$(CC) $(compile_flags) -fPIC -shared -o $@ $<

# Allocations go through tests/fuzz/memory.c, which can let them fail.
failing_memory = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

$(BUILD)/replay/%: $(BUILD)/obj/tests/fuzz/%_fuzz.o $(BUILD)/obj/tests/fuzz/replay.o $(BUILD)/obj/tests/fuzz/memory.o $(BUILD)/core.a
	@mkdir -p $(@D)
	@$(CC) $(link_flags) $(failing_memory) -o $@ $^ $(libraries)

$(BUILD)/fuzzers/%: $(BUILD)/obj/tests/fuzz/%_fuzz.o $(BUILD)/obj/tests/fuzz/memory.o $(BUILD)/core.a
	@mkdir -p $(@D)
	@$(CC) $(link_flags) $(failing_memory) -fsanitize=fuzzer -o $@ $^ $(libraries)

$(BUILD)/bench/%: $(BUILD)/obj/bench/micro/%.o $(BUILD)/core.a
	@mkdir -p $(@D)
	@$(CC) $(link_flags) -o $@ $^ $(libraries)

$(BUILD)/peers/%: bench/peers/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	@$(CC) $(compile_flags) -MMD -MP $(link_flags) -o $@ $< $(libraries)

FORCE:
.SECONDARY:
.PHONY: run run-enhanced run-production run-tls build man install install-files uninstall clean sbom deb test-deb test-image test check lint format docs sanitize fuzz fuzz-campaign fuzz-coverage replays coverage bench \
	test-memory test-workers test-phase2 test-integration faults verify bench-regression \
	help binaries suite test-portable test-portable-build portable-binaries portable-suite sanitize-address sanitize-thread sanitize-address-build sanitize-thread-build lint-setup lint-format lint-lua lint-shell lint-cppcheck lint-tidy lint-analyzer lint-gcc lint-objects \
	lint-clang lint-clang-posix fuzz-build fuzzers peers bench-operations bench-decisions bench-console screenshots FORCE

-include $(patsubst %.o,%.d,$(core_objects) $(BUILD)/obj/core/main.o $(unit_objects) $(bench_objects)) \
	$(patsubst %.c,$(BUILD)/obj/%.d,$(wildcard tests/fuzz/*.c)) $(peers:%=%.d)
