# usage: python3 generate_unicode_tables.py > unicode_tables.cpp
# Emits unicode_tables.cpp: runs {first, last, stride} of code points, and case mapping runs with a delta.
import sys, unicodedata
N=0x110000
def runs(pts):
    out=[];i=0
    while i<len(pts):
        best=(pts[i],pts[i],1);bl=1
        for st in (1,2):
            j=i
            while j+1<len(pts) and pts[j+1]==pts[j]+st:j+=1
            if j-i+1>bl: bl=j-i+1;best=(pts[i],pts[j],st)
        if bl==2 and best[2]==2: best=(pts[i],pts[i],1);bl=1
        out.append(best);i+=bl
    return out
def maps(f):
    d={}
    for c in range(N):
        if 0xD800<=c<0xE000: continue
        s=f(chr(c))
        if len(s)==1 and ord(s)!=c: d.setdefault(ord(s)-c,[]).append(c)
    out=[]
    for delta,pts in d.items():
        out+= [(a,b,st,delta) for a,b,st in runs(sorted(pts))]
    return sorted(out)
def multi(f):
    return [(c,[ord(x) for x in f(chr(c))]) for c in range(N) if not 0xD800<=c<0xE000 and len(f(chr(c)))>1]
ok=[c for c in range(N) if not 0xD800<=c<0xE000]
P={'kAlpha':str.isalpha,'kDecimal':str.isdecimal,'kDigitOnly':lambda c:c.isdigit() and not c.isdecimal(),'kNumericOnly':lambda c:c.isnumeric() and not c.isdigit(),
 'kSpace':str.isspace,'kLower':str.islower,'kUpper':str.isupper,'kTitle':lambda c:unicodedata.category(c)=='Lt','kUnprintable':lambda c:not c.isprintable(),
 'kCaseIgnorable':lambda c:None}
# Case_Ignorable is not exposed: infer it from how CPython lowers a capital sigma.
P['kCaseIgnorable']=lambda c:('A'+c+'\u03a3').lower()[-1]=='\u03c2' and not ('\u03a3'==c) and ('1'+c+'\u03a3').lower()[-1]!='\u03c2'
w=sys.stdout.write
w('// Generated from the Unicode data of CPython (unidata %s): runs of code points with a stride, so that\n// alternating upper and lower case letters stay small. Regenerate rather than edit.\n#include "jinja/unicode_tables.h"\n\nnamespace spnl::modelkit::jinja {\n\n// clang-format off\n'%unicodedata.unidata_version)
def emit(decl,rows):
    w(decl+' = {\n');line=''
    for r in rows:
        t='{'+','.join(('%#x'%x if x>=0 else '-%#x'%-x) if k<2 else str(x) for k,x in enumerate(r))+'},'
        if len(line)+len(t)>116: w(line+'\n');line=''
        line+=t
    w(line+'\n};\n')
for k,f in P.items():
    r=runs([c for c in ok if f(chr(c))])
    emit('const Run %s[]'%k,r); w('const size_t %sCount = %d;\n'%(k,len(r)))
for k,f in (('kToUpper',str.upper),('kToLower',str.lower),('kToTitle',str.title)):
    r=maps(f)
    if k=='kToTitle':  # only where it is not the upper case
        d={}
        for c in ok:
            if chr(c).title()!=chr(c).upper() and len(chr(c).title())==1: d.setdefault(ord(chr(c).title())-c,[]).append(c)
        r=sorted((a,b,st,delta) for delta,pts in d.items() for a,b,st in runs(pts))
    emit('const CaseRun %s[]'%k,r); w('const size_t %sCount = %d;\n'%(k,len(r)))
for k,f in (('kUpperMulti',str.upper),('kTitleMulti',str.title)):
    r=[(c,)+tuple('%#x'%v for v in (m+[0,0])[:3]) for c,m in multi(f)]
    w('const Multi %s[] = {\n'%k);line=''
    for x in r:
        t='{%#x,{%s}},'%(x[0],','.join(x[1:]))
        if len(line)+len(t)>116: w(line+'\n');line=''
        line+=t
    w(line+'\n};\nconst size_t %sCount = %d;\n'%(k,len(r)))
w('// clang-format on\n\n}  // namespace spnl::modelkit::jinja\n')
