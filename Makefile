# Each target runs a script in scripts/. Every script explains itself with --help.
.PHONY: help run cluster test test-long test-stores abuse check load bench bench-long compare cost faults cluster-faults faults-prove pressure stop clean-stack

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

run: ## install missing packages, start private servers, build, serve a demo; Ctrl-C stops everything
	@scripts/run

cluster: ## a Redis Cluster, a Galera cluster, three members of etcd, three instances and HAProxy; scripts/cluster stop
	@scripts/cluster start

test: ## install missing packages, then run every check and test on private servers
	@scripts/test

test-long: ## the same with the slow tests, which take longer than 25 minutes; make test-stores is not part of it
	@scripts/test --long

test-stores: ## the API tests and short fault scenarios on the newest MySQL, MariaDB, Redis, Valkey and etcd; SUITE=mysql-valkey
	@scripts/test-stores $(SUITE)

abuse: ## play attacks against a running sale, and judge what honest users notice; SECONDS=10 for each attack
	@scripts/abuse $(if $(SECONDS),--seconds $(SECONDS))

check: ## formatting, clippy, documentation, shell scripts, alerts
	@scripts/check

load: ## a load test: claims per second, with every claim stored
	@scripts/load

bench: ## measure every figure of docs/benchmarks; about a quarter of an hour
	@scripts/bench

bench-long: ## the same with ten million claims
	@scripts/bench --long

compare: ## measure this build against an older binary; BEFORE=path, ONLY="claims refusals"
	@scripts/compare-builds $(BEFORE) $(if $(ONLY),--only $(ONLY))

cost: ## measure a claim with several instances, shards and Redis primaries; about half an hour
	@scripts/cost

faults: ## kill, empty, freeze and cut off servers under load; SEED=7, SECONDS=120 or COUNT=60 (random faults), RUN="kills losses"
	@scripts/faults $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(COUNT),--count $(COUNT)) $(RUN)

cluster-faults: ## kill, move and cut off servers of a Redis Cluster, Galera, etcd and sentinels; SEED=7, RUN="cluster-cut sentinels"
	@scripts/cluster-faults $(if $(SEED),--seed $(SEED)) $(RUN)

faults-prove: ## remove one guard of the program at a time, and check that the tests find it; RUN="MUTANT..."
	@scripts/faults-mutants $(RUN)

pressure: ## measure overload, and stores that do not answer
	@scripts/pressure

stop: ## stop servers that an interrupted run or test left behind
	@scripts/stack stop run
	@scripts/stack stop test

clean-stack: ## stop the servers of run and test, then delete all their data
	@scripts/stack wipe run
	@scripts/stack wipe test
