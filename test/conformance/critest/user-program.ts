// The program of critest's image `nonewprivs`: it prints the effective user that it runs as, and is set-user-id in the
// image. A static executable from machine code (x86-64), since no compiler is needed elsewhere in this project.
import { staticExecutable } from '../../../internal/linux/static-executable.ts';

const NEWLINE = 10;

/** Bytes of an executable that prints `Effective uid: N`. */
export function userProgram(): Buffer {
  const text = Buffer.from('Effective uid: ');
  const code = Buffer.from([
    ...[0xb8, 107, 0, 0, 0, 0x0f, 0x05], // eax = geteuid()
    ...[0x48, 0x83, 0xec, 0x20], // sub rsp, 32: digits from its end downwards
    ...[0x48, 0x8d, 0x74, 0x24, 0x1f], // lea rsi, [rsp + 31]
    ...[0xc6, 0x06, NEWLINE], // mov byte [rsi], '\n'
    ...[0xb9, 10, 0, 0, 0], // mov ecx, 10
    ...[0x31, 0xd2], // digit: xor edx, edx
    ...[0xf7, 0xf1], // div ecx
    ...[0x80, 0xc2, 0x30], // add dl, '0'
    ...[0x48, 0xff, 0xce], // dec rsi
    ...[0x88, 0x16], // mov [rsi], dl
    ...[0x85, 0xc0], // test eax, eax
    ...[0x75, 0xf0], // jnz digit
    ...[0x48, 0x83, 0xee, text.length], // sub rsi, length of the text
    ...[0x48, 0x89, 0xf7], // mov rdi, rsi
    ...[0x48, 0x89, 0xf3], // mov rbx, rsi
    ...[0x48, 0x8d, 0x35, 39, 0, 0, 0], // lea rsi, [rip + text]
    ...[0xb9, text.length, 0, 0, 0], // mov ecx, length
    ...[0xf3, 0xa4], // rep movsb
    ...[0x48, 0x89, 0xde], // mov rsi, rbx
    ...[0x48, 0x8d, 0x54, 0x24, 0x20], // lea rdx, [rsp + 32]
    ...[0x48, 0x29, 0xf2], // sub rdx, rsi
    ...[0xbf, 1, 0, 0, 0], // edi = stdout
    ...[0xb8, 1, 0, 0, 0, 0x0f, 0x05], // write(1, rsi, rdx)
    ...[0x31, 0xff], // edi = 0
    ...[0xb8, 60, 0, 0, 0, 0x0f, 0x05], // exit(0)
    ...text,
  ]);
  return staticExecutable(62, code);
}
