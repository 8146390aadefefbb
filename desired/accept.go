package desired

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/trust"
	"gitgate.dev/gitgate/policies"
)

// UntrustedError is the error of commits that the rules of a source do not trust.
type UntrustedError struct {
	Source   string
	Evidence []trust.Evidence // of the commits that are not trusted, newest first
}

func (e *UntrustedError) Error() string {
	first := e.Evidence[len(e.Evidence)-1]
	more := ""
	if n := len(e.Evidence) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more after it", n)
	}
	return fmt.Sprintf("source %s: commit %s is not trusted: %s%s", e.Source, first.Commit.Hash.Short(), first.Reason, more)
}

// RewrittenError is the error of a branch whose new tip does not descend from the accepted one.
type RewrittenError struct {
	Source        string
	Accepted, Tip git.Hash
}

func (e *RewrittenError) Error() string {
	return fmt.Sprintf("source %s: the branch was rewritten: %s does not descend from the accepted commit %s, which goes on serving", e.Source, e.Tip.Short(), e.Accepted.Short())
}

func isHeld(err error) bool {
	var untrusted *UntrustedError
	var rewritten *RewrittenError
	return errors.As(err, &untrusted) || errors.As(err, &rewritten)
}

func heldProblem(err error) policies.Violation {
	v := policies.Violation{Rule: RuleUntrusted, Message: err.Error(), Fix: "sign what is meant to be there by a new commit on top of a trusted one, or let a person accept the commit"}
	var rewritten *RewrittenError
	if errors.As(err, &rewritten) {
		v.Rule, v.Fix = RuleRewritten, "let a person look at the rewrite and accept it"
	}
	return v
}

// accepted lists the commits from an accepted tip to a new one that may be accepted, oldest first, and why not all of them.
func (x *Index) accepted(ctx context.Context, s *Source, from, tip git.Hash) ([]accepted, error) {
	if from == tip {
		return nil, nil
	}
	if from != "" {
		descends, err := follows(ctx, s.Repo, from, tip)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", s.Name, err)
		}
		if !descends {
			return nil, &RewrittenError{Source: s.Name, Accepted: from, Tip: tip}
		}
	}
	signers, trusted, held, err := x.trusted(ctx, s, from, tip)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.Name, err)
	}
	if trusted == from {
		return nil, held
	}
	limit := 0
	if from == "" {
		limit = x.renderer.o.History.Commits
	}
	commits, err := s.Repo.FirstParents(ctx, trusted, from, limit)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.Name, err)
	}
	slices.Reverse(commits)
	if from == "" && x.renderer.o.History.Age > 0 {
		// The newest commit that is too old was still the tip later on.
		oldest := x.now().Add(-x.renderer.o.History.Age)
		for len(commits) > 1 && commits[1].Committer.When.Before(oldest) {
			commits = commits[1:]
		}
	}
	out := make([]accepted, 0, len(commits))
	for _, c := range commits {
		out = append(out, accepted{commit: c, signer: signers[c.Hash]})
	}
	return out, held
}

// follows says whether tip descends from another commit. The common case, one commit on top, needs no process.
func follows(ctx context.Context, repo *git.Repo, from, tip git.Hash) (bool, error) {
	raw, err := repo.RawCommit(ctx, tip)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(raw)) {
		if line == "parent "+string(from)+"\n" {
			return true, nil
		}
		if line == "\n" {
			break
		}
	}
	return repo.IsAncestor(ctx, from, tip)
}

// accepted is a commit that may be taken.
type accepted struct {
	commit git.Commit
	signer string
}

// trusted finds the newest commit on the way to tip that is trusted, and with it every commit since the last trusted one; "" when
// there is none. held says why it is not tip.
func (x *Index) trusted(ctx context.Context, s *Source, from, tip git.Hash) (signers map[git.Hash]string, newest git.Hash, held, err error) {
	if s.Trust == nil {
		return nil, tip, nil, nil
	}
	since := from
	if since == "" && s.Anchor != "" {
		descends, err := s.Repo.IsAncestor(ctx, s.Anchor, tip)
		if err != nil {
			return nil, "", nil, fmt.Errorf("anchor %s: %w", s.Anchor.Short(), err)
		}
		if !descends {
			return nil, "", &RewrittenError{Source: s.Name, Accepted: s.Anchor, Tip: tip}, nil
		}
		since = s.Anchor
	}
	evidence, err := s.Trust.Range(ctx, s.Repo, tip, since)
	if err != nil {
		return nil, "", nil, fmt.Errorf("signatures: %w", err)
	}
	signers = make(map[git.Hash]string, len(evidence))
	var bad []trust.Evidence
	for _, e := range evidence {
		signers[e.Commit.Hash] = e.Signer
		if e.State != trust.Trusted {
			bad = append(bad, e)
		}
	}
	if len(bad) == 0 {
		return signers, tip, nil, nil
	}
	held = &UntrustedError{Source: s.Name, Evidence: bad}
	if since == "" {
		return nil, "", held, nil // nobody vouched for any of them
	}
	commits, err := s.Repo.FirstParents(ctx, tip, since, 0)
	if err != nil {
		return nil, "", nil, err
	}
	newest = since
	for _, c := range slices.Backward(commits) {
		step, err := s.Trust.Range(ctx, s.Repo, c.Hash, newest)
		if err != nil {
			return nil, "", nil, fmt.Errorf("signatures: %w", err)
		}
		if slices.ContainsFunc(step, func(e trust.Evidence) bool { return e.State != trust.Trusted }) {
			break
		}
		newest = c.Hash
	}
	return signers, newest, held, nil
}

func told(a accepted) policies.Commit {
	c := a.commit
	subject := c.Subject
	if len(subject) > maxSubject {
		subject = subject[:maxSubject]
	}
	return policies.Commit{Hash: string(c.Hash), Author: c.Author.String(), Time: c.Committer.When, Subject: subject, Signer: a.signer}
}

// maxSubject bounds the bytes of a commit's subject that are kept.
const maxSubject = 200
