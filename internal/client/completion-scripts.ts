/**
 * What a shell evaluates to complete command lines of tsctr. The scripts know nothing of the commands: they ask the program
 * with the words typed so far, and it answers with candidates, a line each, or that files are wanted.
 */
export const COMPLETION_SCRIPTS: Readonly<Record<'bash' | 'zsh' | 'fish', string>> = {
  // Bash takes `:` and `=` for ends of words, and names of images have both: the word is put together again, and what is
  // before the last such sign is cut off the answers, as bash inserts only the rest.
  bash: `# bash completion of tsctr
_tsctr() {
    local line=\${COMP_LINE:0:COMP_POINT} words current candidate prefix
    read -r -a words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=\${words[-1]}
    prefix=\${current%"\${COMP_WORDS[COMP_CWORD]}"}
    [[ \${COMP_WORDS[COMP_CWORD]} == [:=] ]] && prefix=$current
    COMPREPLY=()
    while IFS= read -r candidate; do
        if [[ $candidate == :files ]]; then
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}")
            return
        fi
        COMPREPLY+=("\${candidate#"$prefix"}")
    done < <("\${words[0]}" __complete "\${words[@]:1}" 2>/dev/null)
}
complete -F _tsctr tsctr
`,
  zsh: `#compdef tsctr
# zsh completion of tsctr
_tsctr() {
    local -a candidates
    candidates=("\${(@f)$("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ \${candidates[1]} == :files ]]; then
        _files
    else
        compadd -a candidates
    fi
}
if [[ \${funcstack[1]} == _tsctr ]]; then
    _tsctr "$@"
else
    compdef _tsctr tsctr
fi
`,
  fish: `# fish completion of tsctr
function __tsctr_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l candidates ($words[1] __complete $words[2..-1] 2>/dev/null)
    if test "$candidates[1]" = :files
        __fish_complete_path (commandline -ct)
    else
        printf '%s\\n' $candidates
    end
end
complete -c tsctr -f -a '(__tsctr_complete)'
`,
};
