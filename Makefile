# Every target is a script in scripts/, which says what it does and why; --help works for all of them.
.PHONY: help run test test-long check load bench bench-long compare faults faults-prove pressure stop clean-stack

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

run: ## install what is missing, start private servers, build, serve a demo; Ctrl-C stops all of it
	@scripts/run

test: ## the same set-up, then every check and test
	@scripts/test

test-long: ## the tests that do not fit into 25 minutes, too
	@scripts/test --long

check: ## formatting, clippy, documentation, shell scripts
	@scripts/check

load: ## the load test
	@scripts/load

bench: ## every figure of docs/benchmarks, as ratios taken in one run; about a quarter of an hour
	@scripts/bench

bench-long: ## the same after ten million claims
	@scripts/bench --long

compare: ## this build against an older one, by turns: BEFORE=path of its binary, ONLY="claims lists"
	@scripts/compare-builds $(BEFORE) $(if $(ONLY),--only $(ONLY))

faults: ## kill, empty, freeze and cut off everything under load; SEED=7, SECONDS=120 or COUNT=60 (random faults), RUN="kills losses"
	@scripts/faults $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(COUNT),--count $(COUNT)) $(RUN)

faults-prove: ## break the program on purpose, one guard at a time, and see the fault suite find it
	@scripts/faults-mutants $(RUN)

pressure: ## more attempts than can be answered, stores that say nothing: measured
	@scripts/pressure

stop: ## stop what an interrupted run or test left behind
	@scripts/stack stop run
	@scripts/stack stop test

clean-stack: ## stop, then delete all data of both
	@scripts/stack wipe run
	@scripts/stack wipe test
