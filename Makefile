# Two commands do everything: `make demo` and `make test`. The rest is for developers.

CARGO ?= cargo
# The demonstration and the benchmarks run what would be shipped; `make demo PROFILE=dev` builds faster.
PROFILE ?= release
ifeq ($(PROFILE),dev)
BIN := target/debug
else
BIN := target/$(PROFILE)
endif

.PHONY: help demo test check bench build lab

help:
	@echo "make demo    bring up twelve servers, cut them, prove it, reopen them (needs no service)"
	@echo "make test    install what the tests need, then run all of them"
	@echo "make check   formatting, lints, documentation, licences and bans of dependencies"
	@echo "make bench   measure against the budgets; one of them: make bench NAME=cut"
	@echo "make lab     a laboratory of twelve servers that stays up"

build:
	$(CARGO) build --workspace --bins --profile $(PROFILE)

demo: build
	$(BIN)/digue-lab demo --yes

lab: build
	$(BIN)/digue-lab up --detach

test:
	tests/setup
	$(CARGO) build --workspace --bins
	if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --workspace --profile ci; \
	else \
		$(CARGO) test --workspace; \
	fi
	$(CARGO) test --workspace --doc --quiet

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	$(CARGO) deny check bans licenses sources

bench: build
	$(BIN)/digue-bench $(NAME)
