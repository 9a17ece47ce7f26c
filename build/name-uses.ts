// Which names a script declares at its outermost level, and where it uses them. It is a cautious look: a name counts as
// another one's wherever a function around it declares the same name at all, and as changed wherever it might be.
import { type AnyNode, type Identifier, type Program, parse } from 'acorn';

/** An identifier that stands for a value, with the nodes around it, the innermost last. */
export interface Use {
  readonly node: Identifier;
  readonly around: readonly AnyNode[];
  /** The names that the functions around it declare. */
  readonly shadows: readonly ReadonlySet<string>[];
}

/** A script and the names in it. */
export interface NameUses {
  readonly program: Program;
  /** By name; without what is a use of some function's own name. */
  readonly uses: ReadonlyMap<string, readonly Use[]>;
  /** Names that may be changed, or that something inside of the script declares as well, where it is not seen which is meant. */
  readonly doubtful: ReadonlySet<string>;
}

/** Throws a SyntaxError for what is no script. */
export function findUses(code: string): NameUses {
  const program = parse(code, { ecmaVersion: 'latest' });
  const finder = new Finder();
  const declared = new Set<string>();
  for (const statement of program.body) {
    const direct = directNames(statement);
    for (const name of direct) {
      if (declared.has(name)) finder.doubtful.add(name);
      declared.add(name);
    }
    for (const name of namesIn(partsOf(statement))) finder.doubtful.add(name);
  }
  finder.visit(program, [], []);
  return { program, uses: finder.uses, doubtful: finder.doubtful };
}

export function isShadowed({ shadows }: Use, name: string): boolean {
  return shadows.some((names) => names.has(name));
}

/** Whether the object that `use` names is read, at a member that is known by name: that name, else undefined. */
export function memberRead({ node, around }: Use): string | undefined {
  const member = around.at(-1);
  if (member?.type !== 'MemberExpression' || member.object !== node || member.computed)
    return undefined;
  return member.property.type === 'Identifier' && !isWritten(member, around.at(-2))
    ? member.property.name
    : undefined;
}

/** Whether `around` gives `node` a value, or takes it away. */
export function isWritten(node: AnyNode, around: AnyNode | undefined): boolean {
  switch (around?.type) {
    case 'AssignmentExpression':
    case 'AssignmentPattern':
    case 'ForInStatement':
    case 'ForOfStatement':
      return around.left === node;
    case 'UpdateExpression':
    case 'ArrayPattern':
    case 'RestElement':
      return true;
    case 'UnaryExpression':
      return around.operator === 'delete';
    default:
      return false;
  }
}

class Finder {
  readonly uses = new Map<string, Use[]>();
  readonly doubtful = new Set<string>();

  visit(node: AnyNode, around: readonly AnyNode[], shadows: readonly ReadonlySet<string>[]): void {
    if (node.type === 'Identifier') {
      this.#identifier(node, around, shadows);
      return;
    }
    const inner = isScope(node) ? [...shadows, namesOfScope(node)] : shadows;
    for (const child of childrenOf(node)) this.visit(child, [...around, node], inner);
  }

  #identifier(
    node: Identifier,
    around: readonly AnyNode[],
    shadows: readonly ReadonlySet<string>[],
  ): void {
    const { name } = node;
    const use = { node, around, shadows };
    if (isShadowed(use, name) || isDeclaration(node, around)) return;
    const parent = around.at(-1);
    const isPattern = parent?.type === 'Property' && around.at(-2)?.type === 'ObjectPattern';
    if (isPattern || isWritten(node, parent)) this.doubtful.add(name);
    const known = this.uses.get(name);
    if (known === undefined) this.uses.set(name, [use]);
    else known.push(use);
  }
}

/** Whether the identifier is the name in a declaration of the outermost level, or one that stands for no value. */
function isDeclaration(node: Identifier, around: readonly AnyNode[]): boolean {
  const parent = around.at(-1);
  switch (parent?.type) {
    case 'VariableDeclarator':
    case 'FunctionDeclaration':
    case 'ClassDeclaration':
      return parent.id === node;
    case 'LabeledStatement':
    case 'BreakStatement':
    case 'ContinueStatement':
      return true;
    default:
      return false;
  }
}

/** The nodes in a node, but for names of members and properties. */
function* childrenOf(node: AnyNode): Generator<AnyNode> {
  for (const [property, value] of Object.entries(node)) {
    const isName =
      (property === 'property' && node.type === 'MemberExpression' && !node.computed) ||
      (property === 'key' && 'computed' in node && !node.computed);
    if (isName) continue;
    for (const child of [value].flat()) {
      if (typeof child === 'object' && child !== null && 'type' in child && 'start' in child) {
        yield child as AnyNode;
      }
    }
  }
}

function isScope({ type }: AnyNode): boolean {
  return /Function|^StaticBlock$|^ClassExpression$/.test(type);
}

/** All names that belong to a function, wherever in it they are declared; not those of functions in it. */
function namesOfScope(node: AnyNode): Set<string> {
  if (node.type === 'ClassExpression') return new Set(node.id ? [node.id.name] : []);
  const names = new Set<string>(['arguments']);
  if (node.type === 'FunctionExpression' && node.id) names.add(node.id.name);
  if ('params' in node) for (const param of node.params) addPattern(param, names);
  const body = 'body' in node ? [node.body].flat() : [];
  for (const name of namesIn(body as AnyNode[])) names.add(name);
  return names;
}

/** What nodes declare, and those in them, but for functions. */
function namesIn(nodes: readonly AnyNode[]): Set<string> {
  const names = new Set<string>();
  const visit = (node: AnyNode): void => {
    switch (node.type) {
      case 'VariableDeclarator':
        addPattern(node.id, names);
        break;
      case 'CatchClause':
        if (node.param) addPattern(node.param, names);
        break;
      case 'FunctionDeclaration':
      case 'ClassDeclaration':
        if (node.id) names.add(node.id.name);
        break;
      default:
    }
    if (isScope(node)) return;
    for (const child of childrenOf(node)) visit(child);
  };
  for (const node of nodes) visit(node);
  return names;
}

/** What a statement of the outermost level declares there itself. */
function directNames(statement: AnyNode): string[] {
  if (statement.type === 'VariableDeclaration') {
    const names = new Set<string>();
    for (const { id } of statement.declarations) if (id.type === 'Identifier') names.add(id.name);
    return [...names];
  }
  const isNamed = statement.type === 'FunctionDeclaration' || statement.type === 'ClassDeclaration';
  return isNamed && statement.id ? [statement.id.name] : [];
}

/** What may declare further names in a statement of the outermost level: patterns, blocks, values. */
function partsOf(statement: AnyNode): AnyNode[] {
  switch (statement.type) {
    case 'VariableDeclaration':
      return statement.declarations.flatMap((each) => {
        return each.id.type === 'Identifier' ? (each.init ? [each.init as AnyNode] : []) : [each];
      });
    case 'FunctionDeclaration':
    case 'ClassDeclaration':
      return [];
    default:
      return [statement];
  }
}

/** The names in a pattern; names in default values are among them, which does no harm. */
function addPattern(pattern: AnyNode, names: Set<string>): void {
  if (pattern.type === 'Identifier') names.add(pattern.name);
  else for (const child of childrenOf(pattern)) addPattern(child, names);
}
